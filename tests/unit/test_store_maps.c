/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Damaged maps. Whatever is found, only data that was stored is returned. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/store/object/mapfile.h"
#include "tests/unit/damage_box.h"

static void test_map(void)
{
	struct box b;

	box_new(&b);
	box_make_partial(&b);
	for (unsigned i = 0; i < sizeof(struct map_header); i++) {
		g_autofree char *map = box_map(&b, "f");
		char byte;
		int fd = open(map, O_RDWR);

		g_assert_cmpint(pread(fd, &byte, 1, i), ==, 1);
		byte ^= 1 << i % 8;
		g_assert_cmpint(pwrite(fd, &byte, 1, i), ==, 1);
		close(fd);
		box_check_stale(&b, "f", 1, 4096);
		{
			g_autofree char *local = box_tree(&b, "f");

			g_assert_cmpint(unlink(local), ==, 0);
		}
		box_make_partial(&b);
	}
	{ /* lost, empty, replaced; cut between slots, and in one */
		g_autofree char *map = box_map(&b, "f"), *local = box_tree(&b, "f");

		g_assert_cmpint(truncate(map, sizeof(struct map_header) + 16 + 7), ==, 0);
		box_check_stale(&b, "f", 1, 4096);
		unlink(local);
		box_make_partial(&b);
		g_free(map);
		map = box_map(&b, "f");
		g_assert_cmpint(unlink(map), ==, 0);
		g_assert_cmpint(mkfifo(map, 0600), ==, 0);
		box_check_stale(&b, "f", 1, 4096);
	}
	box_free(&b);
}

static void map_flip(const char *map, off_t at, uint8_t bits)
{
	int fd = open(map, O_RDWR);
	uint8_t byte;

	g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
	byte ^= bits;
	g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
	close(fd);
}

static void map_get(const char *map, off_t at, void *data, size_t length)
{
	int fd = open(map, O_RDONLY);

	g_assert_cmpint(pread(fd, data, length, at), ==, length);
	close(fd);
}

static void map_put(const char *map, off_t at, const void *data, size_t length)
{
	int fd = open(map, O_RDWR);

	g_assert_cmpint(pwrite(fd, data, length, at), ==, length);
	close(fd);
}

static off_t slot_at(uint64_t chunk)
{
	return (off_t)(sizeof(struct map_header) + sizeof(struct map_slot) * chunk);
}

/* A damaged slot costs its chunk, and is no damage any more. */
static void test_slots(void)
{
	static const struct map_slot blank;
	struct box b;
	struct map_slot before, after;
	g_autofree char *map = NULL;

	box_new(&b);
	box_make_partial(&b); /* chunks 0, 1, 2 */
	map = box_map(&b, "f");
	map_get(map, slot_at(1), &before, sizeof before);
	for (unsigned bit = 0; bit < 8 * sizeof(struct map_slot); bit++) {
		struct store_file *f;

		map_flip(map, slot_at(1) + bit / 8, 1 << bit % 8);
		f = box_open_file(&b, "f", 1);
		g_assert_cmpuint(store_file_chunks_present(f), ==, 2);
		g_assert_false(store_file_present(f, 1, 1));
		store_file_close(f);
		map_get(map, slot_at(1), &after, sizeof after);
		g_assert_cmpmem(&after, sizeof after, &blank, sizeof blank);
		map_put(map, slot_at(1), &before, sizeof before);
	}
	store_file_close(box_open_file(&b, "f", 1));
	box_free(&b);
}

struct writing {
	const char *bytes;
	off_t at;
};

static int64_t write_at(int fd, void *user)
{
	const struct writing *w = user;

	return pwrite(fd, w->bytes, 4096, w->at);
}

static int64_t write_local(int fd, void *user)
{
	return pwrite(fd, user, 4096, 4096);
}

/* Chunk 1 of "f" is local, chunks 0 and 2 are fetched. */
static void make_mixed(struct box *b)
{
	const struct store_kept kept = {.remote = "f", .nlink = 1};
	static char bytes[4096] = "local";
	struct store_file *f;

	box_make_partial(b);
	f = box_open_file(b, "f", 1);
	g_assert_cmpint(store_file_keep(f, "f", &kept), ==, 0);
	g_assert_cmpint(store_file_change(f, 4096, 4096, write_local, bytes), ==, 4096);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
}

static void write_first(struct store_file *f, uint64_t chunk)
{
	static char bytes[4096] = "local";
	struct writing w = {.bytes = bytes, .at = (off_t)chunk * 4096};

	g_assert_cmpint(store_file_change(f, (uint64_t)w.at, 4096, write_at, &w), ==, 4096);
}

static struct store_file *make_kept(struct box *b, uint64_t chunks)
{
	const struct store_kept kept = {.remote = "f", .nlink = 1};
	struct store_file *f = box_create(b, "f", 1, chunks * 4096);

	box_fill(f, 1, 0, 2);
	g_assert_cmpint(store_file_keep(f, "f", &kept), ==, 0);
	return f;
}

/* The first local change comes after the damage. */
static void test_slot_then_change(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *map = NULL;

	box_new(&b);
	store_file_close(make_kept(&b, CHUNKS));
	map = box_map(&b, "f");
	map_flip(map, slot_at(2), 1);
	f = box_open_file(&b, "f", 1);
	write_first(f, 4);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, 0);
	box_free(&b);
}

/* Slots past the limit tell nothing. */
static void test_slot_past_limit(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *map = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	box_new(&b);
	f = make_kept(&b, CHUNKS);
	g_assert_cmpint(store_file_truncate(f, 4097), ==, 0);
	store_file_close(f);
	map = box_map(&b, "f");
	map_flip(map, slot_at(2), 1);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, 0);
	map_flip(map, slot_at(1), 1);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	box_free(&b);
}

/* A mark that no check confirms is not made durable. */
static void test_sync_of_damage(void)
{
	struct box b;
	struct store_file *f;
	uint32_t mark;
	g_autofree char *map = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	box_new(&b);
	f = make_kept(&b, CHUNKS);
	write_first(f, 1);
	map = box_map(&b, "f");
	mark = GUINT32_TO_LE(b.store->epoch.number);
	map_put(map, slot_at(3) + 8, &mark, sizeof mark);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	map_get(map, slot_at(3) + 8, &mark, sizeof mark);
	g_assert_cmpuint(mark, !=, MARK_LOCAL);
	box_free(&b);
}

#define MANY 600 /* chunks: their slots lie in three blocks */

/* The first block of a map never reached the disk, but a durable local chunk is in another. */
static void test_first_block(void)
{
	static const char zeros[4096];
	struct box b;
	struct store_file *f;
	g_autofree char *map = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK);
	box_new(&b);
	f = make_kept(&b, MANY);
	write_first(f, 400);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	map = box_map(&b, "f");
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	map_put(map, 0, zeros, sizeof zeros);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_true(box_exists(map));
	map_flip(map, slot_at(400), 1); /* damaged: perhaps local */
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	map_put(map, slot_at(400), zeros, sizeof(struct map_slot));
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, 0);
	box_free(&b);
}

/* The map of a whole file is not open: it may go while the file is. */
static void test_map_goes(void)
{
	struct box b;
	struct store_file *f;
	static char bytes[4096] = "local";
	g_autofree char *map = NULL;

	box_new(&b);
	f = make_kept(&b, CHUNKS);
	write_first(f, 1);
	box_fill(f, 1, 3, CHUNKS - 1);
	g_assert_cmpint(f->map_fd, <, 0);
	map = box_map(&b, "f");
	g_assert_cmpint(unlink(map), ==, 0);
	g_assert_cmpint(store_file_change(f, 4096, 4096, write_local, bytes), ==, -EUCLEAN);
	g_assert_false(box_exists(map));
	store_file_close(f);
	box_free(&b);
}

/* Where chunks may be local, damage is an error, and the file stays where it is: nothing of it is
 * taken for remote data. */
static void test_changed(void)
{
	struct box b;
	g_autofree char *map = NULL, *kept = NULL, *orphans = NULL, *local = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK); /* each open is logged */
	box_new(&b);
	make_mixed(&b);
	map = box_map(&b, "f");
	kept = g_strconcat(map, ".kept", NULL);
	orphans = box_state(&b, "orphans");
	local = box_tree(&b, "f");
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, 0);
	for (unsigned i = 0; i < sizeof(struct map_header) + sizeof(struct map_slot) * CHUNKS;
	     i++) {
		unsigned slot =
		        i < sizeof(struct map_header) ? 0 : (i - sizeof(struct map_header)) / 16;

		map_flip(map, i, 1 << i % 8);
		/* a bit set in the zeros of an absent chunk is damage, too */
		g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
		g_assert_cmpuint(slot, <, CHUNKS);
		map_flip(map, i, 1 << i % 8);
	}
	g_assert_cmpint(rename(map, kept), ==, 0);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_cmpint(rename(kept, map), ==, 0);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, 0);
	g_assert_cmpint(truncate(map, sizeof(struct map_header) + 2 * sizeof(struct map_slot)), ==,
	                0);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_cmpint(truncate(map, 0), ==, 0);
	g_assert_cmpint(box_open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_true(box_exists(local));
	g_assert_false(box_exists(orphans));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/damage/map", test_map);
	g_test_add_func("/damage/slots", test_slots);
	g_test_add_func("/damage/slot-then-change", test_slot_then_change);
	g_test_add_func("/damage/slot-past-limit", test_slot_past_limit);
	g_test_add_func("/damage/sync-of-damage", test_sync_of_damage);
	g_test_add_func("/damage/first-block", test_first_block);
	g_test_add_func("/damage/map-goes", test_map_goes);
	g_test_add_func("/damage/changed", test_changed);
	return g_test_run();
}
