/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/pins.h"
#include <errno.h>
#include <fcntl.h>
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

int store_pin(struct store *s, uint64_t ino)
{
	int fd = shard_open(s->state, "pins", ino, O_WRONLY | O_CREAT);
	int err = fd < 0 ? fd : epoch_sync(&s->epoch, fd, false);

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
