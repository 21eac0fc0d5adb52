/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests in the journal, also where more than a few have the same place, and where it is full. */
#include "fuse/inode/journal.h"
#include <glib.h>
#include "fuse/base/area.h"

#define TABLE 4096u
#define SAME_PLACE (2u * TABLE)

static void test_same_place(void)
{
	struct area *a = area_new(true, NULL);
	for (uint64_t n = 1; n <= 40; n++)
		journal_write(a, n * SAME_PLACE,
		              &(struct journal_entry){.kind = JOURNAL_MAKE, .node = n});
	for (uint64_t n = 1; n <= 40; n++) {
		struct journal_entry *e = journal_find(a, n * SAME_PLACE);
		g_assert_nonnull(e);
		g_assert_cmpuint(e->node, ==, n);
	}
	g_assert_null(journal_find(a, 41 * SAME_PLACE));
	for (uint64_t n = 1; n <= 40; n++) {
		journal_end(a, n * SAME_PLACE);
		g_assert_null(journal_find(a, n * SAME_PLACE));
	}
	area_free(a);
}

static void test_full(void)
{
	struct area *a = area_new(true, NULL);
	for (uint64_t n = 1; n <= TABLE; n++)
		journal_write(a, n * SAME_PLACE, &(struct journal_entry){.kind = JOURNAL_MAKE});
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING, "too many requests*");
	for (uint64_t n = TABLE + 1; n <= TABLE + 2; n++) { /* told once */
		journal_write(a, n * SAME_PLACE, &(struct journal_entry){.kind = JOURNAL_MAKE});
		g_assert_null(journal_find(a, n * SAME_PLACE));
	}
	g_test_assert_expected_messages();
	journal_end(a, SAME_PLACE);
	journal_write(a, 2, &(struct journal_entry){.kind = JOURNAL_LINK});
	g_assert_nonnull(journal_find(a, 2));
	area_free(a);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/journal/same-place", test_same_place);
	g_test_add_func("/journal/full", test_full);
	return g_test_run();
}
