/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/store.h"
#include <errno.h>
#include <sys/statvfs.h>
#include "fetch/store/disk/store_private.h"

int store_sync_fd(struct store *s, int fd, bool datasync, uint32_t *seen)
{
	return epoch_sync_seen(&s->epoch, fd, datasync, seen);
}

bool store_failed(const struct store *s)
{
	return epoch_trust(&s->epoch) != 0;
}

uint32_t store_sync_failures(const struct store *s)
{
	return __atomic_load_n(&s->epoch.failures, __ATOMIC_ACQUIRE);
}

/* A bijection of the count: no number twice. */
uint64_t store_number(struct store *s)
{
	uint64_t x;

	do {
		x = s->seed + __atomic_fetch_add(&s->count, 1, __ATOMIC_RELAXED) *
		                      UINT64_C(0x9e3779b97f4a7c15);
		x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
		x ^= x >> 31;
	} while (x == 0);
	return x;
}

int store_root_fd(const struct store *s)
{
	return s->tree;
}

const char *store_path(const struct store *s)
{
	return s->path;
}

unsigned store_chunk_shift(const struct store *s)
{
	return s->chunk_shift;
}

bool store_stacked(const struct store *s)
{
	return s->stacked;
}

int store_usage(struct store *s, uint64_t *free_bytes, uint64_t *total_bytes)
{
	struct statvfs fs;

	if (fstatvfs(s->state, &fs) < 0)
		return -errno;
	*free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	*total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}
