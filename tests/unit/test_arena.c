/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the next worker believes of blocks, and what has no room. */
#include "fuse/base/arena.h"
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_marks(void)
{
	struct area *area = area_new(true, NULL);
	struct arena *a = arena_new(area);
	char *one = arena_strdup(a, "one"), *two = arena_strdup(a, "two");
	arena_free(a);

	a = arena_new(area);
	g_assert_true(arena_mark_text(a, one));
	g_assert_false(arena_mark(a, one, 1)); /* a list that leads back to it */
	g_assert_false(arena_mark(a, one + 1, 1));
	g_assert_false(arena_mark(a, &one, 1));
	g_assert_false(arena_holds(a, two, 17));
	arena_sweep(a);
	g_assert_cmpstr(one, ==, "one");
	for (bool found = false; !found;) /* `two` is free */
		found = arena_take(a, 4) == two;
	arena_free(a);
	area_free(area);
}

static void test_room(void)
{
	struct area *area = area_new(false, NULL);
	struct arena *a = arena_new(area);
	g_assert_true(arena_has_room(a, ARENA_BLOCK_MAX));
	g_assert_false(arena_has_room(a, ARENA_BLOCK_MAX + 1));
	uint32_t slabs = area->slabs;
	char *text = arena_strdup(a, "text");
	area->slabs = (uint32_t)(area_region_size(area, AREA_ARENA) / ARENA_BLOCK_MAX) - 1;
	g_assert_false(arena_has_room(a, 1000));
	g_assert_true(arena_has_room(a, 4)); /* free blocks are left */
	area->slabs = slabs + 1;
	arena_give(a, text);
	arena_free(a);
	area_free(area);
}

static size_t resident(struct area *a, enum area_region region)
{
	size_t bytes = (size_t)64 << 20, page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
	g_autofree unsigned char *pages = g_malloc(bytes / page);
	g_assert_cmpint(mincore(area_region(a, region), bytes, pages), ==, 0);
	for (size_t n = 0; n < bytes / page; n++)
		count += pages[n] & 1;
	return count * page;
}

enum { NAMES = 200000 };

/* Names of several sizes go in another order than they came. Then the memory is the kernel's, also
 * where each slab has been used for another size. */
static void test_memory(gconstpointer kept)
{
	struct area *area = area_new(kept != NULL, NULL);
	struct arena *a = arena_new(area);
	g_autofree char **names = g_new(char *, NAMES);
	char *first = arena_strdup(a, "first");
	size_t before = resident(area, AREA_ARENA);
	for (size_t step = 60; step <= 120; step += 20) {
		for (size_t n = 0; n < NAMES; n++)
			names[n] = memset(arena_take(a, n * 7919 % step + 1), 'x', 1);
		g_assert_cmpuint(resident(area, AREA_ARENA), >, before + (size_t)NAMES * 32);
		for (size_t n = 0; n < NAMES; n++)
			arena_give(a, names[n * 7919 % NAMES]);
		g_assert_cmpuint(resident(area, AREA_ARENA), <, before + ((size_t)3 << 20));
	}
	g_assert_cmpstr(first, ==, "first");
	g_assert_cmpuint(area->slabs, <, 400); /* 120 bytes a name: slabs were used again */
	arena_free(a);

	a = arena_new(area); /* as the next worker does */
	g_assert_true(arena_mark_text(a, first));
	arena_sweep(a);
	g_assert_cmpuint(resident(area, AREA_ARENA), <, before + ((size_t)3 << 20));
	char *again = arena_strdup(a, "again");
	g_assert_true(again != first);
	g_assert_cmpstr(first, ==, "first");
	arena_free(a);
	area_free(area);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/arena/marks", test_marks);
	g_test_add_func("/arena/room", test_room);
	g_test_add_data_func("/arena/memory/kept", "kept", test_memory);
	g_test_add_data_func("/arena/memory/private", NULL, test_memory);
	return g_test_run();
}
