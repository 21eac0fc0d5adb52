/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/numbers.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/lock.h"
#include "fetch/store/disk/format.h"

#define HIGH UINT32_C(0x80000000)
#define NOBODY UINT32_MAX /* the number that readdir shows for an entry it does not look up */

struct numbers {
	struct mutex lock;
	GHashTable *inner; /* uint32_t shown → uint64_t ino; for shown from HIGH on */
	GHashTable *moved; /* uint64_t ino → uint32_t shown: numbers that collided with another */
	int fd;            /* of the file, -1: none */
};
G_STATIC_ASSERT(sizeof(void *) == sizeof(uint64_t));

static void *as_pointer(uint64_t number)
{
	return (void *)(uintptr_t)number;
}

static uint32_t fold(uint64_t ino, unsigned attempt)
{
	ino = (ino + attempt) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(ino >> 32) | HIGH;
}

static uint32_t check_of(uint64_t ino, uint32_t shown)
{
	struct number_disk entry = {.ino = GUINT64_TO_LE(ino), .shown = GUINT32_TO_LE(shown)};
	return (uint32_t)XXH3_64bits(&entry, offsetof(struct number_disk, check));
}

static void number_add(struct numbers *n, uint64_t ino, uint32_t shown)
{
	g_hash_table_insert(n->inner, as_pointer(shown), as_pointer(ino));
	if (shown != fold(ino, 0))
		g_hash_table_insert(n->moved, as_pointer(ino), as_pointer(shown));
}

/* Skips invalid entries: after a power loss there may be zeros. An error ends the loading. */
static int numbers_load(struct numbers *n)
{
	struct number_disk some[4096];
	ssize_t got;
	off_t at = 0;

	while ((got = pread(n->fd, some, sizeof some, at)) >= (ssize_t)sizeof some[0]) {
		size_t count = (size_t)got / sizeof some[0];
		for (size_t i = 0; i < count; i++) {
			uint64_t ino = GUINT64_FROM_LE(some[i].ino);
			uint32_t shown = GUINT32_FROM_LE(some[i].shown);
			if (GUINT32_FROM_LE(some[i].check) == check_of(ino, shown) &&
			    shown >= HIGH && shown != NOBODY &&
			    !g_hash_table_contains(n->inner, as_pointer(shown)))
				number_add(n, ino, shown);
		}
		at += (off_t)(count * sizeof some[0]);
	}
	if (got < 0)
		return -errno;
	return got > 0 && ftruncate(n->fd, at) < 0 ? -errno : 0; /* a partial last entry is cut */
}

static void numbers_forget_file(struct numbers *n, int err)
{
	g_warning("inode32: %s: inode numbers of this mount may differ after a remount",
	          g_strerror(err));
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

struct numbers *numbers_new(const char *path)
{
	struct numbers *n = g_new0(struct numbers, 1);
	mutex_init(&n->lock, RANK_NUMBERS);
	n->inner = g_hash_table_new(NULL, NULL);
	n->moved = g_hash_table_new(NULL, NULL);
	n->fd = -1;
	if (!path)
		return n;
	n->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = n->fd < 0 ? -errno : numbers_load(n);
	if (err < 0)
		numbers_forget_file(n, -err);
	return n;
}

void numbers_free(struct numbers *n)
{
	if (!n)
		return;
	if (n->fd >= 0)
		close(n->fd);
	g_hash_table_unref(n->inner);
	g_hash_table_unref(n->moved);
	mutex_destroy(&n->lock);
	g_free(n);
}

/* Before the number is shown: a daemon that is killed must not show another one after that. */
static void number_write_locked(struct numbers *n, uint64_t ino, uint32_t shown) REQUIRES(n->lock)
{
	struct number_disk entry = {.ino = GUINT64_TO_LE(ino),
	                            .shown = GUINT32_TO_LE(shown),
	                            .check = GUINT32_TO_LE(check_of(ino, shown))};
	if (n->fd < 0)
		return;
	ssize_t wrote = write(n->fd, &entry, sizeof entry);
	if (wrote != (ssize_t)sizeof entry)
		numbers_forget_file(n, wrote < 0 ? errno : ENOSPC);
}

uint64_t numbers_shown(struct numbers *n, uint64_t ino)
{
	if (!n || ino < HIGH)
		return ino;
	mutex_lock(&n->lock);
	uint32_t shown = (uint32_t)(uintptr_t)g_hash_table_lookup(n->moved, as_pointer(ino));
	for (unsigned attempt = 0; shown == 0; attempt++) {
		void *owner = NULL;
		uint32_t next = fold(ino, attempt);
		if (next == NOBODY)
			continue;
		if (!g_hash_table_lookup_extended(n->inner, as_pointer(next), NULL, &owner)) {
			number_add(n, ino, next);
			number_write_locked(n, ino, next);
			shown = next;
		} else if (owner == as_pointer(ino)) {
			shown = next;
		}
	}
	mutex_unlock(&n->lock);
	return shown;
}

uint64_t numbers_inner(struct numbers *n, uint64_t shown)
{
	if (!n || shown < HIGH)
		return shown;
	mutex_lock(&n->lock);
	void *ino = g_hash_table_lookup(n->inner, as_pointer(shown));
	mutex_unlock(&n->lock);
	return ino ? (uintptr_t)ino : shown;
}
