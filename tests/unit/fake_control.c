/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* Functions by which tests control and query the fake source. */
#include "tests/unit/fake_source.h"

void fake_bytes(const char *path, unsigned version, uint64_t offset, void *buffer, size_t length)
{
	uint64_t seed = g_str_hash(path) + version * UINT64_C(0x9e3779b97f4a7c15);
	uint8_t *out = buffer;

	for (size_t n = 0; n < length; n++) {
		uint64_t x = seed ^ (offset + n) / 8 * UINT64_C(0xff51afd7ed558ccd);

		x ^= x >> 33;
		x *= UINT64_C(0xc4ceb9fe1a85ec53);
		x ^= x >> 29;
		out[n] = x >> ((offset + n) % 8 * 8);
	}
}

void fake_file_add(struct fake_source *s, const char *path, uint64_t size)
{
	struct fake_file *file = g_new0(struct fake_file, 1);

	file->size = size;
	pthread_mutex_lock(&s->lock);
	g_hash_table_replace(s->files, g_strdup(path), file);
	pthread_mutex_unlock(&s->lock);
}

void fake_file_change(struct fake_source *s, const char *path)
{
	pthread_mutex_lock(&s->lock);
	((struct fake_file *)g_hash_table_lookup(s->files, path))->version++;
	pthread_mutex_unlock(&s->lock);
}

void fake_file_relabel(struct fake_source *s, const char *path)
{
	pthread_mutex_lock(&s->lock);
	((struct fake_file *)g_hash_table_lookup(s->files, path))->label++;
	pthread_mutex_unlock(&s->lock);
}

uint64_t fake_file_size(struct fake_source *s, const char *path)
{
	struct fake_file *file;

	pthread_mutex_lock(&s->lock);
	file = g_hash_table_lookup(s->files, path);
	pthread_mutex_unlock(&s->lock);
	return file->size;
}

void fake_directory_set(struct fake_source *s, const char *path, unsigned entries, bool exact)
{
	struct fake_directory *now = g_new0(struct fake_directory, 1), *before;

	pthread_mutex_lock(&s->lock);
	before = g_hash_table_lookup(s->directories, path);
	now->version = before ? before->version + 1 : 1;
	now->entries = entries;
	now->exact = exact;
	g_hash_table_replace(s->directories, g_strdup(path), now);
	pthread_mutex_unlock(&s->lock);
}

void fake_directory_remove(struct fake_source *s, const char *path)
{
	pthread_mutex_lock(&s->lock);
	g_hash_table_remove(s->directories, path);
	pthread_mutex_unlock(&s->lock);
}

void fake_gate(struct fake_source *s, bool closed)
{
	pthread_mutex_lock(&s->lock);
	s->gate = closed;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void fake_stall(struct fake_source *s, bool closed, uint64_t after)
{
	pthread_mutex_lock(&s->lock);
	s->stall = closed;
	s->stall_after = after;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void fake_fail(struct fake_source *s, int error, unsigned count)
{
	pthread_mutex_lock(&s->lock);
	s->fail = error;
	s->fail_count = count;
	pthread_mutex_unlock(&s->lock);
}

static unsigned fake_count(struct fake_source *s, const unsigned *count)
{
	unsigned now;

	pthread_mutex_lock(&s->lock);
	now = *count;
	pthread_mutex_unlock(&s->lock);
	return now;
}

unsigned fake_reads(struct fake_source *s)
{
	return fake_count(s, &s->reads->len);
}

unsigned fake_lists(struct fake_source *s)
{
	return fake_count(s, &s->lists);
}

unsigned fake_stats(struct fake_source *s)
{
	return fake_count(s, &s->stats);
}

struct fake_read fake_read_at(struct fake_source *s, unsigned n)
{
	struct fake_read r;

	pthread_mutex_lock(&s->lock);
	g_assert_cmpuint(n, <, s->reads->len);
	r = g_array_index(s->reads, struct fake_read, n);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void fake_wait_reads(struct fake_source *s, unsigned count)
{
	pthread_mutex_lock(&s->lock);
	while (s->reads->len < count)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void fake_wait_idle(struct fake_source *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->under_way > 0)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}
