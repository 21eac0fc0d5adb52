/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Writes into a file that follows the source, beside a model of it: local and remote bytes, in this
 * epoch and in the next. */
#include "fetch/store/file/dirty.h"
#include "tests/unit/store_box.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK UINT64_C(4096)
#define CHUNKS 12
#define SIZE (CHUNKS * CHUNK - 1000)
#define SPAN (SIZE + 8 * CHUNK)
#define FILE_NUMBER 3

enum owner { REMOTE, DIRTY, LOCAL };

struct model {
	struct box box;
	struct store_file *file;
	uint8_t bytes[SPAN]; /* as a reader would see them if all were fetched */
	enum owner owner[CHUNKS];
	uint64_t size, limit;
};

struct range {
	uint64_t offset, length;
	uint8_t value;
	int64_t only; /* bytes, then the disk is full; -1: all of them */
};

static uint64_t chunk_end(const struct model *m, uint64_t k)
{
	return MIN(MIN((k + 1) * CHUNK, SIZE), m->limit);
}

static void model_open(struct model *m)
{
	g_assert_cmpint(store_file_open(m->box.store, "f", 1000 + FILE_NUMBER, &m->file), ==, 0);
	g_assert_true(store_file_kept(m->file));
}

static void model_new(struct model *m)
{
	const struct store_origin origin = box_origin(FILE_NUMBER, SIZE);
	const struct store_kept kept = {.remote = "f", .nlink = 1, .origin = &origin};

	box_new(&m->box);
	m->file = box_create(&m->box, "f", FILE_NUMBER, SIZE);
	g_assert_cmpint(store_file_keep(m->file, "f", &kept), ==, 0);
	m->size = m->limit = SIZE;
	memset(m->bytes, 0, sizeof m->bytes);
	memset(m->owner, 0, sizeof m->owner);
	for (uint64_t i = 0; i < SIZE; i++)
		m->bytes[i] = box_byte(FILE_NUMBER, i);
}

static void model_free(struct model *m)
{
	store_file_close(m->file);
	box_free(&m->box);
}

/* Fetches absent chunks, then compares all. */
static void model_check(struct model *m)
{
	g_autofree uint8_t *bytes = g_malloc(SPAN);
	struct stat st;

	for (uint64_t k = 0; k < CHUNKS; k++) {
		if (store_file_doubtful(m->file, k))
			store_file_verify(m->file, k);
		if (!store_file_present(m->file, k, k))
			g_assert_cmpint(box_publish(m->file, FILE_NUMBER, k), ==, 0);
	}
	fstat(store_file_fd(m->file), &st);
	g_assert_cmpuint(st.st_size, ==, m->size);
	g_assert_cmpint(pread(store_file_fd(m->file), bytes, SPAN, 0), ==, m->size);
	for (uint64_t i = 0; i < m->size; i++)
		if (bytes[i] != m->bytes[i])
			g_error("byte %" G_GUINT64_FORMAT " of chunk %" G_GUINT64_FORMAT
			        " (limit %" G_GUINT64_FORMAT "): %d, not %d",
			        i, i / CHUNK, m->limit, bytes[i], m->bytes[i]);
}

static int64_t put(int fd, void *user)
{
	const struct range *r = user;
	size_t length = r->only >= 0 ? MIN((uint64_t)r->only, r->length) : r->length;
	g_autofree uint8_t *bytes = g_malloc(length + 1);

	if (length == 0)
		return -ENOSPC;
	memset(bytes, r->value, length);
	return pwrite(fd, bytes, length, (off_t)r->offset);
}

static void fetch_edges(struct model *m, uint64_t offset, uint64_t length)
{
	uint64_t from, count;

	while (store_file_lacks(m->file, offset, length, &from, &count)) {
		uint64_t k = from / CHUNK;

		g_assert_true(k == offset / CHUNK || k == (offset + length - 1) / CHUNK);
		if (store_file_doubtful(m->file, k))
			store_file_verify(m->file, k);
		if (!store_file_present(m->file, k, k))
			g_assert_cmpint(box_publish(m->file, FILE_NUMBER, k), ==, 0);
	}
}

static void model_write(struct model *m, struct range r)
{
	uint64_t present, end;
	int64_t n;

	fetch_edges(m, r.offset, r.length);
	present = store_file_chunks_present(m->file);
	n = store_file_change(m->file, r.offset, r.length, put, &r);
	if (n == -EAGAIN) { /* all chunks are present and none is local: localise() is for that */
		g_assert_cmpuint(present, ==, CHUNKS);
		return;
	}
	/* marked, even if nothing was written; absent chunks stay remote */
	for (uint64_t k = r.offset / CHUNK; k < CHUNKS; k++)
		if (r.offset < chunk_end(m, k) && k * CHUNK < r.offset + r.length &&
		    m->owner[k] == REMOTE && store_file_present(m->file, k, k))
			m->owner[k] = DIRTY;
	if (r.only < 0)
		g_assert_cmpint(n, ==, r.length);
	if (n <= 0) {
		g_assert_cmpint(n, ==, -ENOSPC);
		return;
	}
	end = r.offset + (uint64_t)n;
	memset(m->bytes + r.offset, r.value, n);
	m->size = MAX(m->size, end);
}

static void model_truncate(struct model *m, uint64_t size)
{
	int err = store_file_truncate(m->file, size);

	if (err == -EAGAIN)
		return;
	g_assert_cmpint(err, ==, 0);
	m->limit = MIN(m->limit, size);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

static void model_synced(struct model *m)
{
	for (uint64_t k = 0; k < CHUNKS; k++)
		if (m->owner[k] == DIRTY)
			m->owner[k] = LOCAL;
}

/* In the next epoch, writes that were not synced revert to the source. */
static void model_die(struct model *m)
{
	for (uint64_t k = 0; k < CHUNKS; k++) {
		if (m->owner[k] != DIRTY)
			continue;
		m->owner[k] = REMOTE;
		for (uint64_t i = k * CHUNK; i < chunk_end(m, k); i++)
			m->bytes[i] = box_byte(FILE_NUMBER, i);
	}
}

static void model_step(struct model *m)
{
	uint64_t offset = g_test_rand_int_range(0, m->size + 1), length, freed = 0;
	static const uint64_t lengths[] = {1, 100, CHUNK, CHUNK + 1, 3 * CHUNK};
	uint64_t k = g_test_rand_int_range(0, CHUNKS);

	length = lengths[g_test_rand_int_range(0, G_N_ELEMENTS(lengths))];
	if (g_test_rand_bit())
		offset -= offset % CHUNK;
	offset = MIN(offset, SPAN - length);
	switch (g_test_rand_int_range(0, 12)) {
	case 0:
		model_truncate(m, g_test_rand_int_range(0, SPAN));
		break;
	case 1:
		g_assert_cmpint(store_file_sync(m->file, false), ==, 0);
		model_synced(m);
		break;
	case 2:
		g_assert_cmpint(store_flush(m->box.store), ==, 0);
		model_synced(m);
		break;
	case 3:
		g_assert_cmpint(store_file_evict(m->file, &freed), ==, 0);
		break;
	case 4:
	case 5:
		if (!store_file_present(m->file, k, k) && !store_file_doubtful(m->file, k))
			g_assert_cmpint(box_publish(m->file, FILE_NUMBER, k), ==, 0);
		break;
	case 6:
		model_write(m, (struct range){offset, length, (uint8_t)g_test_rand_int(),
		                              g_test_rand_int_range(0, length)});
		break;
	default:
		model_write(m, (struct range){offset, length, (uint8_t)g_test_rand_int(), -1});
	}
}

static void model_again(struct model *m)
{
	int how = g_test_rand_int_range(0, 3);

	store_file_close(m->file);
	if (how == 0) {
		box_close(&m->box);
		model_synced(m); /* at the end all writes are synced */
	} else {
		box_crash(&m->box);
	}
	if (how == 2) {
		box_reboot(&m->box);
		model_die(m);
	}
	box_open(&m->box);
	model_open(m);
}

static void test_model(void)
{
	for (int run = 0; run < 60; run++) {
		struct model m;

		model_new(&m);
		for (int turn = 0; turn < 12; turn++) {
			for (int step = 0; step < 12; step++)
				model_step(&m);
			if (g_test_rand_bit())
				model_check(&m);
			model_again(&m);
		}
		model_check(&m);
		model_free(&m);
	}
}

/* A transfer of remote data does not overwrite local data, nor change the local end of file. */
static void test_late_arrivals(void)
{
	struct model m;
	uint8_t remote[CHUNK];

	model_new(&m);
	memset(remote, 7, sizeof remote);
	model_write(&m, (struct range){2 * CHUNK, CHUNK, 1, -1});
	g_assert_cmpint(store_file_lend(m.file, 0, 3 * CHUNK), ==, -1);
	g_assert_cmpint(store_file_lend(m.file, 0, 2 * CHUNK), >=, 0);
	store_file_give_back(m.file);
	g_assert_cmpint(store_file_write(m.file, 2 * CHUNK, remote, CHUNK), ==, 0);
	g_assert_cmpint(store_file_publish(m.file, 2, 7), ==, 0);
	model_truncate(&m, 5 * CHUNK + 10);
	g_assert_cmpint(store_file_write(m.file, 7 * CHUNK, remote, CHUNK), ==, 0);
	g_assert_cmpint(store_file_publish(m.file, 7, 7), ==, 0);
	model_truncate(&m, SIZE);
	model_check(&m);
	model_free(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store-change/model", test_model);
	g_test_add_func("/store-change/late-arrivals", test_late_arrivals);
	return g_test_run();
}
