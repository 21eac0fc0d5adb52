/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Damaged records and origins, and copies: a file that its record does not bind is set aside. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/damage_box.h"

static void test_record_length(void)
{
	struct box b;
	g_autofree char *local = NULL;

	box_new(&b);
	local = box_tree(&b, "f");
	for (size_t length = 0; length <= 80; length++) {
		unsigned char data[80] = {0};

		box_make(&b, "f", 1, 100);
		box_record_read(local, data);
		if (length == 56)
			continue;
		box_record_write(local, data, length);
		box_check_stale(&b, "f", 1, 100);
	}
	box_free(&b);
}

/* The fields that bind a file to itself, one bit at a time. */
static void test_record_bits(void)
{
	struct box b;
	g_autofree char *local = NULL;

	box_new(&b);
	local = box_tree(&b, "f");
	box_make(&b, "f", 1, SIZE);
	for (unsigned bit = 0; bit < 56 * 8; bit++) {
		struct store_file *f = NULL;
		unsigned char data[64];
		size_t length = box_record_read(local, data), byte = bit / 8;
		int err;

		data[byte] ^= 1 << bit % 8;
		box_record_write(local, data, length);
		err = store_file_open(b.store, "f", 1001, &f);
		if (err == 0) {
			box_check(f, 1);
			store_file_close(f);
		}
		if (byte == 0 || byte == 3 || (byte >= 16 && byte < 32) || byte >= 48)
			g_assert_cmpint(err, ==, -ESTALE); /* no hash: it has a map */
		if (err == -EOPNOTSUPP) /* flags of a later version: left alone */
			box_record_write(local, (data[byte] ^= 1 << bit % 8, data), length);
		if (err == -ESTALE)
			box_make(&b, "f", 1, SIZE);
		if (err == 0) {
			data[byte] ^= 1 << bit % 8;
			box_record_write(local, data, length);
		}
	}
	box_free(&b);
}

/* What a later version wrote is neither read nor moved. */
static void test_later_version(void)
{
	struct box b;
	struct store_file *f = NULL;
	struct store_origin o = box_origin(1, SIZE);
	struct record_disk d = {0};
	g_autofree char *local = NULL;

	box_new(&b);
	local = box_tree(&b, "f");
	box_make(&b, "f", 1, SIZE);
	box_record_read(local, (unsigned char *)&d);
	d.flags |= 64;
	box_record_write(local, &d, offsetof(struct record_disk, remote_limit));
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, -EOPNOTSUPP);
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, -EOPNOTSUPP);
	g_assert_cmpint(store_open_readonly(b.store, "f", 1001), ==, -EOPNOTSUPP);
	g_assert_true(box_exists(local));
	box_free(&b);
}

/* A piece that a crash left of another text. */
static void test_origin_leftover(void)
{
	struct box b;
	g_autofree char *name = g_strnfill(200, 'n'), *shard = NULL, *left = NULL, *found = NULL;
	g_autofree char *path = g_strjoin("/", name, name, name, name, name, NULL);
	uint64_t ino = 0;

	box_new(&b);
	shard = box_state(&b, "origins/05");
	left = box_state(&b, "origins/05/0000000000000005.1");
	g_assert_cmpint(g_mkdir_with_parents(shard, 0700), ==, 0);
	g_assert_cmpint(symlink("of another", left), ==, 0);
	for (int n = 0; n < 2; n++) { /* the same text again is no error */
		g_assert_cmpint(origin_write(b.store, 5, 77, path), ==, 0);
		g_assert_cmpint(origin_read(b.store, 5, &ino, &found), ==, 0);
		g_assert_cmpuint(ino, ==, 77);
		g_assert_cmpstr(found, ==, path);
		g_clear_pointer(&found, g_free);
	}
	/* "INO.CHECK/" has 26 bytes: the text fills one piece */
	path[960 - 26] = '\0';
	origin_remove(b.store, 5);
	g_assert_cmpint(symlink("of another", left), ==, 0);
	g_assert_cmpint(origin_write(b.store, 5, 77, path), ==, 0);
	g_assert_cmpint(origin_read(b.store, 5, &ino, &found), ==, 0);
	g_assert_cmpstr(found, ==, path);
	box_free(&b);
}

/* A copy, a swap, another size: not the file of the record. */
static void test_not_bound(void)
{
	struct box b;
	g_autofree char *f = NULL, *g = NULL, *h = NULL, *command = NULL;

	box_new(&b);
	f = box_tree(&b, "f");
	g = box_tree(&b, "g");
	h = box_tree(&b, "h");
	box_make(&b, "f", 1, SIZE);
	box_make(&b, "g", 2, SIZE);
	command = g_strdup_printf("cp -a '%s' '%s'", f, h);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	box_check_stale(&b, "h", 1, SIZE);
	g_assert_cmpint(truncate(f, SIZE - 1), ==, 0);
	box_check_stale(&b, "f", 1, SIZE);
	g_assert_cmpint(truncate(g, SIZE + 1), ==, 0);
	box_check_stale(&b, "g", 2, SIZE);
	/* renamed by another program: still the same file, found under its new name */
	g_assert_cmpint(rename(g, h), ==, 0);
	g_assert_cmpint(box_open_error(&b, "g", 2), ==, -ENOENT);
	store_file_close(box_open_file(&b, "h", 2));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/damage/record-length", test_record_length);
	g_test_add_func("/damage/record-bits", test_record_bits);
	g_test_add_func("/damage/later-version", test_later_version);
	g_test_add_func("/damage/not-bound", test_not_bound);
	g_test_add_func("/damage/origin-leftover", test_origin_leftover);
	return g_test_run();
}
