/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/lru.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/pool.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/disk/store_private.h"
#include "fetch/store/disk/usage.h"

/* No disk holds more; the sums of space.c do not overflow with it. */
#define USED_MAX (UINT64_C(1) << 62)

static void *key_of(uint64_t number)
{
	return (void *)(uintptr_t)number;
}

static uint32_t now_s(void)
{
	return (uint32_t)MIN(clock_realtime() / 1000000000, (int64_t)UINT32_MAX);
}

void lru_init(struct store *s)
{
	mutex_init(&s->lru.lock, RANK_LRU);
	s->lru.times = g_hash_table_new(NULL, NULL);
}

void lru_clear(struct store *s)
{
	g_hash_table_unref(s->lru.times);
	mutex_destroy(&s->lru.lock);
}

void store_lru_touch(struct store *s, uint64_t number)
{
	mutex_lock(&s->lru.lock);
	g_hash_table_insert(s->lru.times, key_of(number), GUINT_TO_POINTER(now_s()));
	s->lru.changed = true;
	mutex_unlock(&s->lru.lock);
}

uint32_t store_lru_time(struct store *s, uint64_t number)
{
	uint32_t at;

	mutex_lock(&s->lru.lock);
	at = GPOINTER_TO_UINT(g_hash_table_lookup(s->lru.times, key_of(number)));
	mutex_unlock(&s->lru.lock);
	return MIN(at, now_s()); /* the clock may have been set back */
}

static gboolean is_older(gpointer key, gpointer value, gpointer user)
{
	return GPOINTER_TO_UINT(value) < GPOINTER_TO_UINT(user);
}

static int compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Drops a quarter more than it must, so that the next call has nothing to do. */
void store_lru_trim(struct store *s)
{
	GHashTable *t = s->lru.times;
	GHashTableIter iter;
	gpointer value;

	mutex_lock(&s->lru.lock);
	if (g_hash_table_size(t) > LRU_MAX) {
		uint32_t n = 0, count = g_hash_table_size(t);
		g_autofree uint32_t *times = g_new(uint32_t, count);

		g_hash_table_iter_init(&iter, t);
		while (g_hash_table_iter_next(&iter, NULL, &value))
			times[n++] = GPOINTER_TO_UINT(value);
		qsort(times, count, sizeof *times, compare_times);
		g_hash_table_foreach_remove(t, is_older,
		                            GUINT_TO_POINTER(times[count - LRU_MAX / 4 * 3]));
		if (g_hash_table_size(t) > LRU_MAX) /* all at one time */
			g_hash_table_remove_all(t);
	}
	mutex_unlock(&s->lru.lock);
}

/* The file's content; its checksum is set. */
static GByteArray *encode(struct store *s)
{
	struct space_use use;
	struct usage_disk head = {.magic = GUINT64_TO_LE(USAGE_MAGIC)};
	GByteArray *out;
	GHashTableIter iter;
	gpointer key, value;

	store_space_use(s, &use);
	head.used = GUINT64_TO_LE(use.used);
	head.fetched = GUINT64_TO_LE(use.fetched);
	head.known = use.known;
	mutex_lock(&s->lru.lock);
	head.count = GUINT64_TO_LE((uint64_t)g_hash_table_size(s->lru.times));
	out = g_byte_array_sized_new(
	        (guint)(sizeof head + g_hash_table_size(s->lru.times) * sizeof(struct use_disk)));
	g_byte_array_append(out, (const guint8 *)&head, sizeof head);
	g_hash_table_iter_init(&iter, s->lru.times);
	while (g_hash_table_iter_next(&iter, &key, &value)) {
		const struct use_disk one = {.ino = GUINT64_TO_LE((uint64_t)(uintptr_t)key),
		                             .at = GUINT32_TO_LE(GPOINTER_TO_UINT(value))};

		g_byte_array_append(out, (const guint8 *)&one, sizeof one);
	}
	s->lru.changed = false;
	mutex_unlock(&s->lru.lock);
	((struct usage_disk *)(void *)out->data)->checksum =
	        GUINT64_TO_LE(XXH3_64bits(out->data, out->len));
	return out;
}

static int write_file(struct store *s, const GByteArray *data)
{
	int fd = openat(s->tmp, "usage", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	                0600);
	int err = fd < 0 ? -errno : 0;

	for (guint done = 0; err == 0 && done < data->len;) {
		ssize_t n = write(fd, data->data + done, data->len - done);

		if (n <= 0)
			err = n < 0 ? -errno : -ENOSPC;
		done += (guint)MAX(n, 0);
	}
	if (fd >= 0 && close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0 && renameat(s->tmp, "usage", s->state, "usage") < 0)
		err = -errno;
	return err;
}

/* Without fsync: a file that a crash has damaged is ignored. */
int store_lru_save(struct store *s)
{
	bool changed;
	int err;

	mutex_lock(&s->lru.lock);
	changed = s->lru.changed;
	mutex_unlock(&s->lru.lock);
	if (!changed && !__atomic_load_n(&s->epoch.begun, __ATOMIC_ACQUIRE))
		return 0;
	g_autoptr(GByteArray) data = encode(s);
	err = write_file(s, data);
	if (err) { /* its counts would be taken for exact ones */
		unlinkat(s->tmp, "usage", 0);
		unlinkat(s->state, "usage", 0);
	}
	return err;
}

void lru_drop(struct store *s)
{
	unlinkat(s->state, "usage", 0);
}

static bool check(const uint8_t *data, size_t length, struct usage_disk *head)
{
	g_autofree uint8_t *copy = NULL;

	if (length < sizeof *head)
		return false;
	memcpy(head, data, sizeof *head);
	if (GUINT64_FROM_LE(head->magic) != USAGE_MAGIC || GUINT64_FROM_LE(head->used) > USED_MAX ||
	    GUINT64_FROM_LE(head->fetched) > USED_MAX ||
	    GUINT64_FROM_LE(head->count) != (length - sizeof *head) / sizeof(struct use_disk) ||
	    (length - sizeof *head) % sizeof(struct use_disk) != 0)
		return false;
	copy = g_memdup2(data, length);
	((struct usage_disk *)(void *)copy)->checksum = 0;
	return XXH3_64bits(copy, length) == GUINT64_FROM_LE(head->checksum);
}

/* NULL: missing, or too large to be ours. */
static uint8_t *read_file(struct store *s, size_t *length)
{
	int fd = openat(s->state, "usage", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	size_t most = sizeof(struct usage_disk) + 2 * (size_t)LRU_MAX * sizeof(struct use_disk);
	uint8_t *data = NULL;

	if (size > 0 && (size_t)size <= most) {
		data = g_malloc((size_t)size);
		if (pread(fd, data, (size_t)size, 0) != size)
			g_clear_pointer(&data, g_free);
		*length = (size_t)size;
	}
	if (fd >= 0)
		close(fd);
	return data;
}

void lru_load(struct store *s, bool exact)
{
	size_t length = 0;
	g_autofree uint8_t *data = read_file(s, &length);
	struct usage_disk head;

	if (s->fresh) {
		s->space.known = true;
		return;
	}
	if (data == NULL || !check(data, length, &head))
		return;
	s->space.used = GUINT64_FROM_LE(head.used);
	s->space.fetched = GUINT64_FROM_LE(head.fetched);
	s->space.known = exact && head.known;
	for (size_t at = sizeof head; at < length; at += sizeof(struct use_disk)) {
		struct use_disk one;

		memcpy(&one, data + at, sizeof one);
		g_hash_table_insert(s->lru.times, key_of(GUINT64_FROM_LE(one.ino)),
		                    GUINT_TO_POINTER(GUINT32_FROM_LE(one.at)));
	}
}
