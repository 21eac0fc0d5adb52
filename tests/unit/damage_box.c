/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/damage_box.h"
#include <errno.h>
#include <sys/xattr.h>

int box_open_error(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = NULL;
	int err = store_file_open(b->store, path, 1000 + file, &f);

	if (f)
		store_file_close(f);
	return err;
}

void box_make(struct box *b, const char *path, unsigned file, uint64_t size)
{
	struct store_file *f = box_create(b, path, file, size);

	if (!store_file_complete(f))
		box_fill(f, file, 0, (size - 1) / 4096);
	store_file_close(f);
}

size_t box_record_read(const char *local, unsigned char data[64])
{
	ssize_t n = getxattr(local, RECORD_XATTR, data, 64);

	g_assert_true(n == 56 || n == 64);
	return (size_t)n;
}

void box_record_write(const char *local, const void *data, size_t length)
{
	g_assert_cmpint(setxattr(local, RECORD_XATTR, data, length, 0), ==, 0);
}

/* A file that is not bound is set aside, and the next one takes its name. */
void box_check_stale(struct box *b, const char *path, unsigned file, uint64_t size)
{
	g_autofree char *orphans = box_state(b, "orphans"), *local = box_tree(b, path);
	unsigned before = box_count(orphans);

	g_assert_cmpint(box_open_error(b, path, file), ==, -ESTALE);
	g_assert_cmpuint(box_count(orphans), ==, before + 1);
	g_assert_false(box_exists(local));
	g_assert_cmpint(box_open_error(b, path, file), ==, -ENOENT);
	box_make(b, path, file, size);
	g_assert_cmpint(box_open_error(b, path, file), ==, 0);
}

char *box_map(struct box *b, const char *path)
{
	g_autofree char *local = box_tree(b, path);
	struct record_disk d = {0};
	uint64_t id;

	box_record_read(local, (unsigned char *)&d);
	id = GUINT64_FROM_LE(d.id);
	return g_strdup_printf("%s/state/maps/%02x/%016" G_GINT64_MODIFIER "x", b->path,
	                       (unsigned)(id & 255), id);
}

void box_make_partial(struct box *b)
{
	struct store_file *f = box_create(b, "f", 1, SIZE);

	box_fill(f, 1, 0, 2);
	store_file_close(f);
}
