/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/journal_private.h"
#include <glib.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include "fuse/base/area.h"

#define ENTRIES 4096 /* far more than requests are under way */
#define PROBES 16

/* Entries further from their place than PROBES: while there are some, all are looked at. */
static _Atomic uint32_t far;

static struct journal_entry *table(struct area *a)
{
	return area_region(a, AREA_JOURNAL);
}

/* The kernel counts requests by twos. */
static struct journal_entry *probe(struct area *a, uint64_t request, unsigned n)
{
	return &table(a)[(request / 2 + n) % ENTRIES];
}

static bool is_far(struct area *a, const struct journal_entry *e, uint64_t request)
{
	size_t at = (size_t)(e - table(a)), place = request / 2 % ENTRIES;
	return (at + ENTRIES - place) % ENTRIES >= PROBES;
}

struct journal_entry *journal_find(struct area *a, uint64_t request)
{
	unsigned probes = far > 0 ? ENTRIES : PROBES;
	for (unsigned n = 0; request && a->kept && n < probes; n++) {
		struct journal_entry *e = probe(a, request, n);
		if (e->request == request)
			return e;
	}
	return NULL;
}

static void entry_free(struct area *a, struct journal_entry *e)
{
	far -= is_far(a, e, e->request);
	e->request = 0;
}

bool journal_is_done(struct area *a, uint64_t request)
{
	const struct journal_entry *e = journal_find(a, request);
	return e && e->done;
}

/* An entry that no request owns, for this one. NULL: all are in use. */
static struct journal_entry *take(struct area *a, uint64_t request)
{
	static _Atomic bool told;
	for (unsigned n = 0; n < ENTRIES; n++) {
		uint64_t none = 0;
		struct journal_entry *e = probe(a, request, n);
		if (__atomic_compare_exchange_n((uint64_t *)&e->request, &none, UINT64_MAX, false,
		                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			far += is_far(a, e, request);
			return e;
		}
	}
	if (!atomic_exchange(&told, true))
		g_warning("too many requests change names: if the worker dies, one may be "
		          "repeated");
	return NULL;
}

void journal_write(struct area *a, uint64_t request, const struct journal_entry *e)
{
	struct journal_entry *to = request ? journal_find(a, request) : NULL;
	if (!to && request && a->kept)
		to = take(a, request);
	if (!to)
		return;
	to->request = UINT64_MAX; /* nobody's, until it is whole */
	size_t from = offsetof(struct journal_entry, kind);
	size_t names = offsetof(struct journal_entry, name);
	memcpy((char *)to + from, (const char *)e + from, names - from);
	memcpy(to->name, e->name, strlen(e->name) + 1);
	memcpy(to->newname, e->newname, strlen(e->newname) + 1);
	to->request = request;
}

void journal_end(struct area *a, uint64_t request)
{
	struct journal_entry *e = journal_find(a, request);
	if (e)
		entry_free(a, e);
}

void journal_sent_again(struct area *a, uint64_t request)
{
	struct journal_entry *e = journal_find(a, request);
	if (e)
		e->awaited = false;
}

void journal_settle(struct area *a)
{
	for (unsigned n = 0; n < ENTRIES; n++)
		if (table(a)[n].request && table(a)[n].awaited)
			entry_free(a, &table(a)[n]);
}

void journal_each(struct area *a, void (*each)(void *user, struct journal_entry *e), void *user)
{
	far = 0;
	for (unsigned n = 0; n < ENTRIES; n++) {
		struct journal_entry *e = &table(a)[n];
		if (e->request == UINT64_MAX) /* the worker was killed before it was whole */
			e->request = 0;
		if (!e->request)
			continue;
		far += is_far(a, e, e->request);
		each(user, e);
	}
}
