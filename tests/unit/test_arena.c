/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the next worker believes of blocks, and what has no room. */
#include "fuse/base/arena.h"
#include <glib.h>

static void test_marks(void)
{
	struct area *area = area_new(true);
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
	struct area *area = area_new(false);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/arena/marks", test_marks);
	g_test_add_func("/arena/room", test_room);
	return g_test_run();
}
