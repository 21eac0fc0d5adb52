/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/pins.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/store_private.h"

#define DIGITS 16

static void *key_of(uint64_t ino)
{
	return (void *)(uintptr_t)ino;
}

void pins_init(struct store *s)
{
	mutex_init(&s->pins.lock, RANK_PINS);
	s->pins.inos = g_hash_table_new(NULL, NULL);
}

void pins_clear(struct store *s)
{
	g_hash_table_unref(s->pins.inos);
	mutex_destroy(&s->pins.lock);
}

static int load_one(int fd, struct dirent *e, void *user)
{
	struct store *s = user;
	char *end;
	uint64_t ino = g_ascii_strtoull(e->d_name, &end, 16);

	if (end == e->d_name + DIGITS && *end == '\0' && ino != 0)
		g_hash_table_add(s->pins.inos, key_of(ino));
	return 0;
}

static int load_shard(int fd, struct dirent *e, void *user)
{
	int dir = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0 && (errno == ENOTDIR || errno == ELOOP)) /* not ours */
		return 0;
	return entries_foreach(dir < 0 ? -errno : dir, load_one, user);
}

int pins_load(struct store *s)
{
	int err = entries_foreach(
	        path_open(s->state, "pins", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), load_shard, s);

	return err == -ENOENT ? 0 : err;
}

/* The path is for people: one that is cut short costs no pin. */
static int path_write(struct store *s, int fd, const char *path)
{
	size_t length = MIN(strlen(path), (size_t)PATH_MAX);

	if (ftruncate(fd, 0) < 0 || pwrite(fd, path, length, 0) < 0)
		return -errno;
	return epoch_sync(&s->epoch, fd, false);
}

int store_pin(struct store *s, uint64_t ino, const char *path)
{
	int fd = shard_open(s->state, "pins", ino, O_WRONLY | O_CREAT);
	int err = fd < 0 ? fd : path_write(s, fd, path);

	if (fd >= 0)
		close(fd);
	if (err)
		return err;
	mutex_lock(&s->pins.lock);
	g_hash_table_add(s->pins.inos, key_of(ino));
	mutex_unlock(&s->pins.lock);
	return 0;
}

int store_unpin(struct store *s, uint64_t ino)
{
	int err = store_is_pinned(s, ino) ? shard_unlink(s->state, "pins", ino) : 0;

	if (err && err != -ENOENT)
		return err;
	mutex_lock(&s->pins.lock);
	g_hash_table_remove(s->pins.inos, key_of(ino));
	mutex_unlock(&s->pins.lock);
	return 0;
}

bool store_is_pinned(struct store *s, uint64_t ino)
{
	bool pinned;

	mutex_lock(&s->pins.lock);
	pinned = g_hash_table_contains(s->pins.inos, key_of(ino));
	mutex_unlock(&s->pins.lock);
	return pinned;
}

unsigned store_pins(struct store *s)
{
	unsigned count;

	mutex_lock(&s->pins.lock);
	count = g_hash_table_size(s->pins.inos);
	mutex_unlock(&s->pins.lock);
	return count;
}

static void path_read(struct store *s, uint64_t ino, char path[PATH_MAX + 1])
{
	int fd = shard_open(s->state, "pins", ino, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : pread(fd, path, PATH_MAX, 0);

	path[MAX(n, 0)] = '\0';
	if (fd >= 0)
		close(fd);
}

static int by_number(gconstpointer a, gconstpointer b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void store_pins_foreach(struct store *s, bool (*fn)(void *user, uint64_t ino, const char *path),
                        void *user)
{
	g_autoptr(GArray) inos = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	char path[PATH_MAX + 1];
	GHashTableIter iter;
	gpointer key;
	bool more = true;

	mutex_lock(&s->pins.lock);
	g_hash_table_iter_init(&iter, s->pins.inos);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		uint64_t ino = (uintptr_t)key;

		g_array_append_val(inos, ino);
	}
	mutex_unlock(&s->pins.lock);
	g_array_sort(inos, by_number);
	for (unsigned n = 0; more && n < inos->len; n++) {
		uint64_t ino = g_array_index(inos, uint64_t, n);

		path_read(s, ino, path);
		more = fn(user, ino, path);
	}
}
