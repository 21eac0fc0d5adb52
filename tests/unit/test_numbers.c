/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Inode numbers below 2^32: each once, and the same after a remount in whatever order. */
#include "fuse/inode/numbers.h"
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include "fetch/store/disk/format.h"

#define COUNT 300000u /* of which some 20 meet */

static uint64_t random_ino(void)
{
	return (uint64_t)(g_random_int() | 1) << 32 | g_random_int();
}

static void test_numbers(void)
{
	g_autofree char *directory = g_dir_make_tmp("numbers-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "inode32", NULL);
	g_autofree uint64_t *inos = g_new(uint64_t, COUNT);
	g_autofree uint64_t *told = g_new(uint64_t, COUNT);
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	unsigned met = 0;
	struct numbers *n = numbers_new(path);
	for (unsigned i = 0; i < COUNT; i++) {
		inos[i] = i < 1000 ? i + 1 : random_ino();
		told[i] = numbers_shown(n, inos[i]);
		g_assert_cmpuint(told[i], <, UINT32_MAX);
		g_assert_cmpuint(told[i], !=, 0);
		g_assert_cmpuint(numbers_shown(n, inos[i]), ==, told[i]);
		g_assert_cmpuint(numbers_inner(n, told[i]), ==, inos[i]);
		g_assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(told[i])));
		if (i < 1000)
			g_assert_cmpuint(told[i], ==, inos[i]);
		/* its number without any other */
		struct numbers *alone = numbers_new(NULL);
		met += numbers_shown(alone, inos[i]) != told[i];
		numbers_free(alone);
	}
	g_assert_cmpuint(met, >, 0);
	numbers_free(n);

	/* In another order: inodes keep the numbers that were shown before. */
	n = numbers_new(path);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t shown = numbers_shown(n, random_ino());
		g_assert_false(g_hash_table_contains(seen, GUINT_TO_POINTER(shown)));
	}
	for (unsigned i = COUNT; i-- > 0;)
		g_assert_cmpuint(numbers_shown(n, inos[i]), ==, told[i]);
	numbers_free(n);
	g_remove(path);
	g_remove(directory);
	g_assert_cmpuint(numbers_shown(NULL, UINT64_MAX), ==, UINT64_MAX);
	g_assert_cmpuint(numbers_inner(NULL, UINT64_MAX), ==, UINT64_MAX);
}

/* The daemon is killed within a write, or the machine loses power: no earlier number is lost or
 * changed. */
static void test_damage(void)
{
	g_autofree char *directory = g_dir_make_tmp("numbers-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "inode32", NULL);
	uint64_t inos[8], told[8];
	struct numbers *n = numbers_new(path);
	for (unsigned i = 0; i < 8; i++)
		told[i] = numbers_shown(n, inos[i] = random_ino());
	numbers_free(n);
	g_autofree char *bytes = NULL;
	size_t length;
	g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
	g_assert_cmpuint(length, ==, 8 * sizeof(struct number_disk));
	memset(bytes + 2 * sizeof(struct number_disk), 0, sizeof(struct number_disk));
	bytes[3 * sizeof(struct number_disk)] ^= 1;
	g_assert_true(g_file_set_contents(path, bytes, (gssize)length - 5, NULL));
	for (unsigned round = 0; round < 2; round++) {
		n = numbers_new(path);
		for (unsigned i = 8; i-- > 0;)
			g_assert_cmpuint(numbers_shown(n, inos[i]), ==, told[i]);
		numbers_free(n);
	}
	g_autofree char *after = NULL;
	g_assert_true(g_file_get_contents(path, &after, &length, NULL));
	g_assert_cmpuint(length, ==, 10 * sizeof(struct number_disk));
	g_remove(path);
	g_remove(directory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/numbers/each-once", test_numbers);
	g_test_add_func("/numbers/damage", test_damage);
	return g_test_run();
}
