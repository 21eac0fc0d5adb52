/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Space for removals. The removal of a remote name needs space for its mark in state/gone: without
 * a reserve a full disk would allow no removal, and so never get space. It is of no use under a
 * quota of btrfs, which does not return freed space at once. */
#include <fcntl.h>
#include <unistd.h>
#include "fetch/store/disk/store_private.h"

/* Directories and marks, on a file system with large blocks, too. */
#define RESERVE_BYTES (256 << 10)

static int reserve_open(struct store *s, int flags)
{
	return openat(s->state, "reserve", O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

void store_reserve(struct store *s)
{
	int fd;

	if (__atomic_load_n(&s->reserved, __ATOMIC_RELAXED))
		return;
	fd = reserve_open(s, O_CREAT);
	if (fd < 0)
		return;
	if (fallocate(fd, 0, 0, RESERVE_BYTES) == 0)
		__atomic_store_n(&s->reserved, 1, __ATOMIC_RELAXED);
	else if (ftruncate(fd, 0) < 0)
		g_message("cannot release the store's reserved disk space");
	close(fd);
}

bool store_reserve_spend(struct store *s)
{
	int fd = __atomic_exchange_n(&s->reserved, 0, __ATOMIC_RELAXED) ? reserve_open(s, 0) : -1;
	bool spent = fd >= 0 && ftruncate(fd, 0) == 0 && epoch_syncfs(&s->epoch, fd) == 0;

	if (fd >= 0)
		close(fd);
	return spent;
}
