/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/store_box.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/file/dirty.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

void box_new(struct box *b)
{
	memset(b, 0, sizeof *b);
	signal(SIGIO, SIG_IGN); /* as the daemon: an open beside a lease breaks it */
	b->root = g_dir_make_tmp("lacuna-store-XXXXXX", NULL);
	g_assert_nonnull(b->root);
	b->path = g_build_filename(b->root, "store", NULL);
	box_open(b);
}

void box_free(struct box *b)
{
	if (b->store)
		box_close(b);
	nftw(b->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	g_free(b->path);
	g_free(b->root);
}

struct store *box_try(struct box *b, const struct store_settings *settings, GError **error)
{
	return store_open(b->path, settings, error);
}

void box_open(struct box *b)
{
	struct store_settings settings = {.source = "test:", .chunk_shift = 12};
	g_autoptr(GError) error = NULL;

	b->store = store_open(b->path, &settings, &error);
	g_assert_no_error(error);
	g_assert_nonnull(b->store);
}

void box_close(struct box *b)
{
	g_assert_cmpint(store_close(g_steal_pointer(&b->store)), ==, 0);
}

void box_crash(struct box *b)
{
	struct store *s = g_steal_pointer(&b->store);

	epoch_close(&s->epoch);
	dirty_close(s);
	close(s->tmp);
	close(s->tree);
	close(s->state);
	close(s->dir);
	close(s->lock);
	g_free(s->path);
	g_free(s);
}

void box_epoch_read(struct box *b, struct epoch_disk *out)
{
	g_autofree char *path = box_state(b, "epoch");
	int fd = open(path, O_RDONLY);

	g_assert_cmpint(read(fd, out, sizeof *out), ==, sizeof *out);
	close(fd);
}

void box_epoch_write(struct box *b, struct epoch_disk *d)
{
	g_autofree char *path = box_state(b, "epoch");
	int fd = open(path, O_WRONLY);

	d->checksum = GUINT64_TO_LE(XXH3_64bits(d, offsetof(struct epoch_disk, checksum)));
	g_assert_cmpint(write(fd, d, sizeof *d), ==, sizeof *d);
	close(fd);
}

void box_reboot(struct box *b)
{
	struct epoch_disk d;

	box_epoch_read(b, &d);
	d.identity ^= 1;
	box_epoch_write(b, &d);
}

uint8_t box_byte(unsigned file, uint64_t i)
{
	uint64_t x = (i >> 3) * UINT64_C(0x9e3779b97f4a7c15) + file * UINT64_C(0xd1342543de82ef95);

	return (uint8_t)((x ^ x >> 29) >> (8 * (i & 7)));
}

struct store_origin box_origin(unsigned file, uint64_t size)
{
	return (struct store_origin){
	        .ino = 1000 + file,
	        .size = size,
	        .mtime_ns = INT64_C(1600000000123456789) + file,
	        .version = 7000 + file,
	        .mode = S_IFREG | 0640,
	        .uid = geteuid(),
	        .gid = getegid(),
	        .nlink = 1,
	};
}

struct store_file *box_create(struct box *b, const char *path, unsigned file, uint64_t size)
{
	struct store_origin o = box_origin(file, size);
	struct store_file *f = NULL;

	g_assert_cmpint(store_file_create(b->store, path, &o, &f), ==, 0);
	return f;
}

static uint8_t *chunk_bytes(struct store_file *f, unsigned file, uint64_t chunk, size_t *length)
{
	uint64_t offset = chunk << store_file_chunk_shift(f);
	uint8_t *bytes;

	*length = record_chunk_length(&f->record, chunk);
	bytes = g_malloc(*length);
	for (size_t i = 0; i < *length; i++)
		bytes[i] = box_byte(file, offset + i);
	return bytes;
}

int box_publish(struct store_file *f, unsigned file, uint64_t chunk)
{
	uint64_t offset = chunk << store_file_chunk_shift(f);
	size_t length;
	g_autofree uint8_t *bytes = chunk_bytes(f, file, chunk, &length);
	int err = store_file_write(f, offset, bytes, length);

	return err ? err : store_file_publish(f, chunk, XXH3_64bits(bytes, length));
}

void box_fill(struct store_file *f, unsigned file, uint64_t first, uint64_t last)
{
	for (uint64_t k = first; k <= last; k++)
		g_assert_cmpint(box_publish(f, file, k), ==, 0);
}

void box_check(struct store_file *f, unsigned file)
{
	for (uint64_t k = 0; k < store_file_chunks(f); k++) {
		size_t length;
		g_autofree uint8_t *bytes = chunk_bytes(f, file, k, &length);
		g_autofree uint8_t *local = g_malloc(length);

		if (!store_file_present(f, k, k))
			continue;
		g_assert_cmpint(pread(store_file_fd(f), local, length,
		                      (off_t)(k << store_file_chunk_shift(f))),
		                ==, length);
		g_assert_cmpmem(local, length, bytes, length);
	}
}

struct store_file *box_open_file(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = NULL;

	g_assert_cmpint(store_file_open(b->store, path, 1000 + file, &f), ==, 0);
	box_check(f, file);
	return f;
}

char *box_tree(struct box *b, const char *path)
{
	return g_build_filename(b->path, "tree", path, NULL);
}

char *box_state(struct box *b, const char *path)
{
	return g_build_filename(b->path, "state", path, NULL);
}

unsigned box_count(const char *directory)
{
	DIR *d = opendir(directory);
	unsigned count = 0;

	while (d && readdir(d))
		count++;
	if (d)
		closedir(d);
	return count > 2 ? count - 2 : 0;
}

bool box_exists(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
