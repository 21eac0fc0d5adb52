/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Repairs that would change what a file shows, and are refused. Chunks are of 4 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/listing.h"
#include "fetch/check/check.h"
#include "fetch/store/object/mapfile.h"
#include "tests/unit/store_box.h"

#define MANY 600 /* chunks: their slots lie in three blocks */
#define MINE 400 /* the local one */

static const char zeros[4096];

static void (*meanwhile)(struct box *b);
static struct box *box;

/* The check's pause between two looks. */
void g_usleep(gulong us)
{
	if (meanwhile)
		meanwhile(box);
}

static void found(void *user, const struct check_finding *f)
{
	g_test_message("%s: %s", f->path, f->what);
}

static bool goes_on(void *user, const struct check_totals *so_far)
{
	return true;
}

static const struct check_ops ops = {.found = found, .goes_on = goes_on};

static struct check_totals repair(struct box *b)
{
	const struct check_options options = {.repair = true};
	g_autoptr(GError) error = NULL;
	struct store *s = check_open(b->path, &error);
	struct check_totals totals;

	g_assert_no_error(error);
	g_assert_true(check_store(s, &options, &ops, NULL, &totals));
	check_close(s);
	return totals;
}

static int64_t write_mine(int fd, void *user)
{
	return pwrite(fd, user, 4096, (off_t)MINE * 4096);
}

/* "f": three fetched chunks, and a local one. Returns the path of its map. */
static char *make(struct box *b)
{
	const struct store_kept kept = {.remote = "f", .nlink = 1};
	static char bytes[4096] = "local";
	struct store_file *f = box_create(b, "f", 1, MANY * 4096);
	uint64_t id = f->record.id;

	box_fill(f, 1, 0, 2);
	g_assert_cmpint(store_file_keep(f, "f", &kept), ==, 0);
	g_assert_cmpint(store_file_change(f, (uint64_t)MINE * 4096, 4096, write_mine, bytes), ==,
	                4096);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	return g_strdup_printf("%s/state/maps/%02x/%016" G_GINT64_MODIFIER "x", b->path,
	                       (unsigned)(id & 255), id);
}

static void put(const char *path, off_t at, const void *data, size_t length)
{
	int fd = open(path, O_RDWR);

	g_assert_cmpint(pwrite(fd, data, length, at), ==, length);
	close(fd);
}

static off_t slot_at(uint64_t chunk)
{
	return (off_t)(sizeof(struct map_header) + sizeof(struct map_slot) * chunk);
}

static void check_refused(struct box *b)
{
	struct store_file *f = NULL;
	struct check_totals totals = repair(b);

	g_assert_cmpuint(totals.damaged, ==, 1);
	g_assert_cmpuint(totals.repaired, ==, 0);
	box_open(b);
	g_assert_cmpint(store_file_open(b->store, "f", 1001, &f), ==, -EUCLEAN);
	box_close(b);
}

/* The slots of the first block look like those of absent chunks. */
static void test_first_block(void)
{
	struct box b;
	g_autofree char *map = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	box_new(&b);
	map = make(&b);
	box_close(&b);
	put(map, 0, zeros, sizeof zeros);
	check_refused(&b);
	box_free(&b);
}

/* A bare mark is that of a local chunk only if the chunk was written. */
static void test_bare_marks(void)
{
	struct map_slot ones, bare = {.hash = 5, .mark = MARK_LOCAL, .check = 7};
	const struct map_slot none = {0};
	struct box b;
	struct check_totals totals;
	g_autofree char *map = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	memset(&ones, 0xff, sizeof ones);
	box_new(&b);
	map = make(&b);
	box_close(&b);
	put(map, slot_at(10), &bare, sizeof bare); /* never written: a hole */
	check_refused(&b);
	put(map, slot_at(10), &none, sizeof none);
	put(map, slot_at(1), &ones, sizeof ones); /* it has bytes: fetched ones */
	check_refused(&b);
	put(map, slot_at(1), &none, sizeof none);
	put(map, slot_at(MINE), &bare, sizeof bare);
	totals = repair(&b);
	g_assert_cmpuint(totals.damaged, ==, 1);
	g_assert_cmpuint(totals.repaired, ==, 1);
	g_assert_cmpuint(repair(&b).damaged, ==, 0);
	box_free(&b);
}

/* Slots past the limit tell nothing. */
static void test_past_limit(void)
{
	struct box b;
	struct store_file *f = NULL;
	g_autofree char *map = NULL;
	const struct map_slot bad = {.hash = 5, .check = 7};

	box_new(&b);
	map = make(&b);
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, 0);
	g_assert_cmpint(store_file_truncate(f, 4097), ==, 0);
	store_file_close(f);
	box_close(&b);
	put(map, slot_at(2), &bad, sizeof bad);
	g_assert_cmpuint(repair(&b).damaged, ==, 0);
	put(map, slot_at(1), &bad, sizeof bad);
	g_assert_cmpuint(repair(&b).damaged, ==, 1);
	box_free(&b);
}

static GBytes *listing;

static GBytes *empty_listing(void)
{
	struct listing *l = listing_builder_finish(listing_builder_new(), NULL, 5, NULL);
	GBytes *bytes = listing_to_bytes(l);

	listing_unref(l);
	return bytes;
}

static void list_again(struct box *b)
{
	g_assert_cmpint(store_listing_save(b->store, 1, listing), ==, 0);
}

/* The daemon replaces a damaged listing while a check looks at it. */
static void test_new_listing(void)
{
	const struct check_options options = {.repair = true, .live = true};
	struct check_totals totals;
	struct box b;
	g_autofree char *path = NULL;
	gsize before, after;
	g_autofree char *good = NULL, *now = NULL;

	box_new(&b);
	listing = empty_listing();
	list_again(&b);
	path = box_state(&b, "dirs/01/0000000000000001");
	g_assert_true(g_file_get_contents(path, &good, &before, NULL));
	put(path, 20, zeros, 8);
	box = &b;
	meanwhile = list_again;
	g_assert_true(check_store(b.store, &options, &ops, NULL, &totals));
	g_assert_cmpuint(totals.damaged, ==, 0);
	g_assert_true(g_file_get_contents(path, &now, &after, NULL));
	g_assert_cmpmem(now, after, good, before);
	meanwhile = NULL;
	put(path, 20, zeros, 8);
	g_assert_true(check_store(b.store, &options, &ops, NULL, &totals));
	g_assert_cmpuint(totals.repaired, ==, 1);
	g_assert_false(box_exists(path));
	g_bytes_unref(listing);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/check/first-block", test_first_block);
	g_test_add_func("/check/bare-marks", test_bare_marks);
	g_test_add_func("/check/past-limit", test_past_limit);
	g_test_add_func("/check/new-listing", test_new_listing);
	return g_test_run();
}
