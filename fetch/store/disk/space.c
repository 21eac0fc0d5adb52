/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/space.h"
#include <errno.h>
#include <sys/statvfs.h>
#include "fetch/store/disk/store_private.h"

#define GIB (UINT64_C(1) << 30)
/* Data stored between two looks at the file system: others write to it, too. */
#define STEP_MAX (INT64_C(16) << 20)

void store_space_limit(struct store *s, const struct space_limits *limits)
{
	s->space.quota = limits->quota;
	s->space.min_free = limits->min_free;
	s->space.percent = limits->percent;
	s->space.automatic = limits->automatic;
}

static uint64_t floor_of(const struct space *r, uint64_t total)
{
	if (r->automatic)
		return MIN(total / 20, GIB);
	return r->percent ? total / 100 * r->percent : r->min_free;
}

int store_space_look(struct store *s, struct space_look *out)
{
	struct statvfs fs;

	if (fstatvfs(s->state, &fs) < 0)
		return -errno;
	*out = (struct space_look){
	        .total = (uint64_t)fs.f_blocks * fs.f_frsize,
	        .free = (uint64_t)fs.f_bavail * fs.f_frsize,
	        .quota = s->space.quota,
	        .used = __atomic_load_n(&s->space.used, __ATOMIC_RELAXED),
	        .few_inodes = fs.f_files > 0 && fs.f_favail < fs.f_files / 256,
	};
	out->floor = floor_of(&s->space, out->total);
	out->slack = MIN(out->total / 32, GIB);
	out->quota_slack = MIN(out->quota / 32, GIB);
	return 0;
}

uint64_t space_lack(const struct space_look *l, uint64_t need, unsigned part)
{
	uint64_t wanted = l->floor + l->slack / part + need;
	uint64_t lack = wanted > l->free ? wanted - l->free : 0;
	uint64_t use = l->used + l->quota_slack / part + need;

	if (l->quota && use > l->quota)
		lack = MAX(lack, use - l->quota);
	return lack;
}

/* Bytes that may still be fetched. */
static uint64_t space_left(const struct space_look *l)
{
	uint64_t left = l->free > l->floor ? l->free - l->floor : 0;

	if (l->quota)
		left = MIN(left, l->quota > l->used ? l->quota - l->used : 0);
	return left;
}

int store_space_take(struct store *s, uint64_t bytes)
{
	struct space *r = &s->space;
	struct space_look l;

	if (__atomic_sub_fetch(&r->step, (int64_t)bytes, __ATOMIC_RELAXED) < 0 &&
	    store_space_look(s, &l) == 0) {
		uint64_t left = space_left(&l);

		if (left < bytes) {
			__atomic_store_n(&r->step, 0, __ATOMIC_RELAXED);
			return -ENOSPC;
		}
		/* threads that take at the same time share what is left */
		__atomic_store_n(&r->step, (int64_t)MIN((left - bytes) / 4, (uint64_t)STEP_MAX),
		                 __ATOMIC_RELAXED);
	}
	__atomic_add_fetch(&r->used, bytes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&r->fetched, bytes, __ATOMIC_RELAXED);
	return 0;
}

static void lessen(uint64_t *counter, uint64_t bytes)
{
	uint64_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(counter, &now, now - MIN(now, bytes), true,
	                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void store_space_give(struct store *s, uint64_t bytes)
{
	lessen(&s->space.used, bytes);
	lessen(&s->space.fetched, bytes);
}

void store_space_use(struct store *s, struct space_use *out)
{
	out->used = __atomic_load_n(&s->space.used, __ATOMIC_RELAXED);
	out->fetched = __atomic_load_n(&s->space.fetched, __ATOMIC_RELAXED);
	out->known = __atomic_load_n(&s->space.known, __ATOMIC_RELAXED);
}

/* Data fetched during a measurement may be missing in it, so it is added again: a high count only
 * causes another measurement, a low one exceeds the quota. */
void store_space_measured(struct store *s, const struct space_use *before,
                          const struct space_use *now)
{
	uint64_t used = __atomic_load_n(&s->space.used, __ATOMIC_RELAXED);
	uint64_t fetched = __atomic_load_n(&s->space.fetched, __ATOMIC_RELAXED);

	used = used > before->used ? used - before->used : 0;
	fetched = fetched > before->fetched ? fetched - before->fetched : 0;
	__atomic_store_n(&s->space.used, now->used + used, __ATOMIC_RELAXED);
	__atomic_store_n(&s->space.fetched, now->fetched + fetched, __ATOMIC_RELAXED);
	__atomic_store_n(&s->space.known, true, __ATOMIC_RELAXED);
}
