/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Free slots: the lowest first; pages without a slot in use are the kernel's. */
#include "fuse/base/slots.h"
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 48, MANY = 100 * SLOTS_CHUNK + 7 };

struct table {
	struct area *area;
	struct slots *slots;
	char *bytes;
};

static struct table table_new(bool kept)
{
	struct table t = {.area = area_new(kept, NULL)};
	t.slots = slots_new(t.area, AREA_INODES, SIZE, &t.area->inodes);
	t.bytes = area_region(t.area, AREA_INODES);
	return t;
}

static void table_free(struct table *t)
{
	slots_free(t->slots);
	area_free(t->area);
}

static uint32_t take(struct table *t)
{
	uint32_t index = UINT32_MAX;
	g_assert_true(slots_take(t->slots, &index));
	t->bytes[(size_t)index * SIZE] = 'x';
	return index;
}

static size_t resident(const struct table *t)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
	size_t pages = (size_t)MANY * SIZE / page + 1;
	g_autofree unsigned char *in = g_malloc(pages);
	g_assert_cmpint(mincore(t->bytes, pages * page, in), ==, 0);
	for (size_t n = 0; n < pages; n++)
		count += in[n] & 1;
	return count * page;
}

static void test_lowest(void)
{
	struct table t = table_new(false);
	for (uint32_t n = 0; n < 1000; n++)
		g_assert_cmpuint(take(&t), ==, n);
	slots_give(t.slots, 700);
	slots_give(t.slots, 3);
	slots_give(t.slots, 3);
	slots_give(t.slots, 1000); /* was never taken */
	slots_give(t.slots, 255);
	g_assert_cmpuint(take(&t), ==, 3);
	g_assert_cmpuint(take(&t), ==, 255);
	g_assert_cmpuint(take(&t), ==, 700);
	g_assert_cmpuint(take(&t), ==, 1000);
	table_free(&t);
}

static void test_memory(gconstpointer kept)
{
	struct table t = table_new(kept != NULL);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t n = 0; n < MANY; n++)
			g_assert_cmpuint(take(&t), ==, n);
		size_t full = resident(&t);
		g_assert_cmpuint(full, >, (size_t)MANY * SIZE / 2);
		for (uint32_t n = 0; n < MANY; n++) /* in another order; one stays */
			if (n * UINT64_C(7919) % MANY != 5000)
				slots_give(t.slots, (uint32_t)(n * UINT64_C(7919) % MANY));
		g_assert_cmpuint(resident(&t), <,
		                 full - (MANY - (SLOTS_SPARE + 2) * SLOTS_CHUNK) * SIZE);
		g_assert_true(t.bytes[5000 * SIZE] == 'x');
		g_assert_cmpuint(slots_next(t.slots, 0), ==, 5000 / SLOTS_CHUNK * SLOTS_CHUNK);
		g_assert_cmpuint(slots_next(t.slots, 5000 + SLOTS_CHUNK), ==, t.area->inodes);
		slots_give(t.slots, 5000);
	}
	table_free(&t);
}

/* The end comes down to the last slot in use. */
static void test_end(void)
{
	struct table t = table_new(true);
	for (uint32_t n = 0; n < MANY; n++)
		take(&t);
	for (uint32_t n = MANY - 1; n > 0; n--)
		slots_give(t.slots, n);
	g_assert_cmpuint(t.area->inodes, <=, (SLOTS_SPARE + 2) * SLOTS_CHUNK);
	for (uint32_t n = 1; n < MANY; n++)
		g_assert_cmpuint(take(&t), ==, n);
	table_free(&t);
}

static void test_full(void)
{
	struct table t = table_new(false);
	uint32_t index, most = (uint32_t)(area_region_size(t.area, AREA_INODES) / SIZE);
	slots_free(t.slots);
	t.area->inodes = most - 1;
	t.slots = slots_new(t.area, AREA_INODES, SIZE, &t.area->inodes);
	g_assert_true(slots_take(t.slots, &index));
	g_assert_false(slots_take(t.slots, &index));
	slots_give(t.slots, most - 1);
	g_assert_true(slots_take(t.slots, &index));
	g_assert_cmpuint(index, ==, most - 1);
	table_free(&t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/slots/lowest", test_lowest);
	g_test_add_data_func("/slots/memory/kept", "kept", test_memory);
	g_test_add_data_func("/slots/memory/private", NULL, test_memory);
	g_test_add_func("/slots/end", test_end);
	g_test_add_func("/slots/full", test_full);
	return g_test_run();
}
