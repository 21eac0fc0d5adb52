/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/epoch_files.h"
#include <errno.h>
#include <unistd.h>

void epoch_files_make(struct box *b)
{
	struct store_file *f = box_create(b, "whole", 1, SIZE);

	box_fill(f, 1, 0, CHUNKS - 1);
	store_file_close(f);
	f = box_create(b, "part", 2, SIZE);
	box_fill(f, 2, 1, 3);
	store_file_close(f);
	f = box_create(b, "single", 3, 1000);
	box_fill(f, 3, 0, 0);
	store_file_close(f);
}

void epoch_file_check(struct box *b, const char *path, unsigned file, unsigned present,
                      unsigned doubtful)
{
	struct store_file *f = box_open_file(b, path, file);
	struct store_probe probe;
	unsigned doubts = 0;
	int fd;

	for (uint64_t k = 0; k < store_file_chunks(f); k++)
		doubts += store_file_doubtful(f, k);
	g_assert_cmpuint(store_file_chunks_present(f), ==, present);
	g_assert_cmpuint(doubts, ==, doubtful);
	g_assert_cmpint(store_probe(b->store, path, 1000 + file, &probe), ==, 0);
	g_assert_true(probe.complete == (present == store_file_chunks(f)));
	g_assert_true(store_file_complete(f) == probe.complete);
	fd = store_open_readonly(b->store, path, 1000 + file);
	g_assert_true((fd >= 0) == probe.complete);
	if (fd >= 0)
		close(fd);
	store_file_close(f);
}

void epoch_files_trusted(struct box *b)
{
	epoch_file_check(b, "whole", 1, CHUNKS, 0);
	epoch_file_check(b, "part", 2, 3, 0);
	epoch_file_check(b, "single", 3, 1, 0);
}

void epoch_files_doubted(struct box *b)
{
	epoch_file_check(b, "whole", 1, 0, CHUNKS);
	epoch_file_check(b, "part", 2, 0, 3);
	epoch_file_check(b, "single", 3, 0, 1);
}

void epoch_file_verify(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = box_open_file(b, path, file);

	for (uint64_t k = 0; k < store_file_chunks(f); k++) {
		bool doubtful = store_file_doubtful(f, k), present = store_file_present(f, k, k);
		int err = store_file_verify(f, k);

		g_assert_cmpint(err, ==, doubtful || present ? 0 : -ESTALE);
		g_assert_true(store_file_present(f, k, k) == (err == 0));
		g_assert_false(store_file_doubtful(f, k));
	}
	box_check(f, file);
	store_file_close(f);
}
