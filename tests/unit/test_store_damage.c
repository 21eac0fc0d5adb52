/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Damaged records and maps, and interrupted operations. Whatever is found, only data that was
 * stored is returned. Chunks are of 4 KiB. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/object/mapfile.h"
#include "tests/unit/store_box.h"

#define CHUNKS 5
#define SIZE (CHUNKS * 4096)

static int open_error(struct box *b, const char *path, unsigned file)
{
	struct store_file *f = NULL;
	int err = store_file_open(b->store, path, 1000 + file, &f);

	if (f)
		store_file_close(f);
	return err;
}

static void make(struct box *b, const char *path, unsigned file, uint64_t size)
{
	struct store_file *f = box_create(b, path, file, size);

	if (!store_file_complete(f))
		box_fill(f, file, 0, (size - 1) / 4096);
	store_file_close(f);
}

static size_t xattr_read(const char *local, unsigned char data[64])
{
	ssize_t n = getxattr(local, RECORD_XATTR, data, 64);

	g_assert_true(n == 56 || n == 64);
	return (size_t)n;
}

static void xattr_write(const char *local, const void *data, size_t length)
{
	g_assert_cmpint(setxattr(local, RECORD_XATTR, data, length, 0), ==, 0);
}

/* A file that is not bound is set aside, and the next one takes its name. */
static void check_stale(struct box *b, const char *path, unsigned file, uint64_t size)
{
	g_autofree char *orphans = box_state(b, "orphans"), *local = box_tree(b, path);
	unsigned before = box_count(orphans);

	g_assert_cmpint(open_error(b, path, file), ==, -ESTALE);
	g_assert_cmpuint(box_count(orphans), ==, before + 1);
	g_assert_false(box_exists(local));
	g_assert_cmpint(open_error(b, path, file), ==, -ENOENT);
	make(b, path, file, size);
	g_assert_cmpint(open_error(b, path, file), ==, 0);
}

static void test_record_length(void)
{
	struct box b;
	g_autofree char *local = NULL;

	box_new(&b);
	local = box_tree(&b, "f");
	for (size_t length = 0; length <= 80; length++) {
		unsigned char data[80] = {0};

		make(&b, "f", 1, 100);
		xattr_read(local, data);
		if (length == 56)
			continue;
		xattr_write(local, data, length);
		check_stale(&b, "f", 1, 100);
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
	make(&b, "f", 1, SIZE);
	for (unsigned bit = 0; bit < 56 * 8; bit++) {
		struct store_file *f = NULL;
		unsigned char data[64];
		size_t length = xattr_read(local, data), byte = bit / 8;
		int err;

		data[byte] ^= 1 << bit % 8;
		xattr_write(local, data, length);
		err = store_file_open(b.store, "f", 1001, &f);
		if (err == 0) {
			box_check(f, 1);
			store_file_close(f);
		}
		if (byte == 0 || byte == 3 || (byte >= 16 && byte < 32) || byte >= 48)
			g_assert_cmpint(err, ==, -ESTALE); /* no hash: it has a map */
		if (err == -EOPNOTSUPP) /* flags of a later version: left alone */
			xattr_write(local, (data[byte] ^= 1 << bit % 8, data), length);
		if (err == -ESTALE)
			make(&b, "f", 1, SIZE);
		if (err == 0) {
			data[byte] ^= 1 << bit % 8;
			xattr_write(local, data, length);
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
	make(&b, "f", 1, SIZE);
	xattr_read(local, (unsigned char *)&d);
	d.flags |= 64;
	xattr_write(local, &d, offsetof(struct record_disk, remote_limit));
	g_assert_cmpint(store_file_open(b.store, "f", 1001, &f), ==, -EOPNOTSUPP);
	g_assert_cmpint(store_file_create(b.store, "f", &o, &f), ==, -EOPNOTSUPP);
	g_assert_cmpint(store_open_readonly(b.store, "f", 1001), ==, -EOPNOTSUPP);
	g_assert_true(box_exists(local));
	box_free(&b);
}

static char *map_of(struct box *b, const char *path)
{
	g_autofree char *local = box_tree(b, path);
	struct record_disk d = {0};
	uint64_t id;

	xattr_read(local, (unsigned char *)&d);
	id = GUINT64_FROM_LE(d.id);
	return g_strdup_printf("%s/state/maps/%02x/%016" G_GINT64_MODIFIER "x", b->path,
	                       (unsigned)(id & 255), id);
}

static void make_partial(struct box *b)
{
	struct store_file *f = box_create(b, "f", 1, SIZE);

	box_fill(f, 1, 0, 2);
	store_file_close(f);
}

static void test_map(void)
{
	struct box b;

	box_new(&b);
	make_partial(&b);
	for (unsigned i = 0; i < sizeof(struct map_header); i++) {
		g_autofree char *map = map_of(&b, "f");
		char byte;
		int fd = open(map, O_RDWR);

		g_assert_cmpint(pread(fd, &byte, 1, i), ==, 1);
		byte ^= 1 << i % 8;
		g_assert_cmpint(pwrite(fd, &byte, 1, i), ==, 1);
		close(fd);
		check_stale(&b, "f", 1, 4096);
		{
			g_autofree char *local = box_tree(&b, "f");

			g_assert_cmpint(unlink(local), ==, 0);
		}
		make_partial(&b);
	}
	{ /* lost, empty, replaced; cut between slots, and in one */
		g_autofree char *map = map_of(&b, "f"), *local = box_tree(&b, "f");

		g_assert_cmpint(truncate(map, sizeof(struct map_header) + 16 + 7), ==, 0);
		check_stale(&b, "f", 1, 4096);
		unlink(local);
		make_partial(&b);
		g_free(map);
		map = map_of(&b, "f");
		g_assert_cmpint(unlink(map), ==, 0);
		g_assert_cmpint(mkfifo(map, 0600), ==, 0);
		check_stale(&b, "f", 1, 4096);
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
	make_partial(&b); /* chunks 0, 1, 2 */
	map = map_of(&b, "f");
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

	make_partial(b);
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
	map = map_of(&b, "f");
	map_flip(map, slot_at(2), 1);
	f = box_open_file(&b, "f", 1);
	write_first(f, 4);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
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
	map = map_of(&b, "f");
	map_flip(map, slot_at(2), 1);
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
	map_flip(map, slot_at(1), 1);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
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
	map = map_of(&b, "f");
	mark = GUINT32_TO_LE(b.store->epoch.number);
	map_put(map, slot_at(3) + 8, &mark, sizeof mark);
	g_assert_cmpint(store_file_sync(f, false), ==, 0);
	store_file_close(f);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
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
	map = map_of(&b, "f");
	box_crash(&b);
	box_reboot(&b);
	box_open(&b);
	map_put(map, 0, zeros, sizeof zeros);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_true(box_exists(map));
	map_flip(map, slot_at(400), 1); /* damaged: perhaps local */
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
	map_put(map, slot_at(400), zeros, sizeof(struct map_slot));
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
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
	map = map_of(&b, "f");
	g_assert_cmpint(unlink(map), ==, 0);
	g_assert_cmpint(store_file_change(f, 4096, 4096, write_local, bytes), ==, -EUCLEAN);
	g_assert_false(box_exists(map));
	store_file_close(f);
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

/* Where chunks may be local, damage is an error, and the file stays where it is: nothing of it is
 * taken for remote data. */
static void test_changed(void)
{
	struct box b;
	g_autofree char *map = NULL, *kept = NULL, *orphans = NULL, *local = NULL;

	g_log_set_always_fatal(G_LOG_FATAL_MASK); /* each open is logged */
	box_new(&b);
	make_mixed(&b);
	map = map_of(&b, "f");
	kept = g_strconcat(map, ".kept", NULL);
	orphans = box_state(&b, "orphans");
	local = box_tree(&b, "f");
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
	for (unsigned i = 0; i < sizeof(struct map_header) + sizeof(struct map_slot) * CHUNKS;
	     i++) {
		unsigned slot =
		        i < sizeof(struct map_header) ? 0 : (i - sizeof(struct map_header)) / 16;

		map_flip(map, i, 1 << i % 8);
		/* a bit set in the zeros of an absent chunk is damage, too */
		g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
		g_assert_cmpuint(slot, <, CHUNKS);
		map_flip(map, i, 1 << i % 8);
	}
	g_assert_cmpint(rename(map, kept), ==, 0);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_cmpint(rename(kept, map), ==, 0);
	g_assert_cmpint(open_error(&b, "f", 1), ==, 0);
	g_assert_cmpint(truncate(map, sizeof(struct map_header) + 2 * sizeof(struct map_slot)), ==,
	                0);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_cmpint(truncate(map, 0), ==, 0);
	g_assert_cmpint(open_error(&b, "f", 1), ==, -EUCLEAN);
	g_assert_true(box_exists(local));
	g_assert_false(box_exists(orphans));
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
	make(&b, "f", 1, SIZE);
	make(&b, "g", 2, SIZE);
	command = g_strdup_printf("cp -a '%s' '%s'", f, h);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	check_stale(&b, "h", 1, SIZE);
	g_assert_cmpint(truncate(f, SIZE - 1), ==, 0);
	check_stale(&b, "f", 1, SIZE);
	g_assert_cmpint(truncate(g, SIZE + 1), ==, 0);
	check_stale(&b, "g", 2, SIZE);
	/* renamed by another program: still the same file, found under its new name */
	g_assert_cmpint(rename(g, h), ==, 0);
	g_assert_cmpint(open_error(&b, "g", 2), ==, -ENOENT);
	store_file_close(box_open_file(&b, "h", 2));
	box_free(&b);
}

/* Each step of the first chunk, and of the last, undone by hand. */
static void test_cut_short(void)
{
	struct box b;
	struct store_file *f;
	unsigned char data[64];
	g_autofree char *local = NULL, *link = NULL;
	struct record_disk *d = (struct record_disk *)data;
	struct store_origin o = box_origin(1, SIZE);
	struct stat st;

	/* map and record, indexed, but no name in the tree */
	box_new(&b);
	local = box_tree(&b, "d/f");
	o.nlink = 2;
	g_assert_cmpint(store_file_create(b.store, "d/f", &o, &f), ==, 0);
	box_fill(f, 1, 0, 1);
	store_file_close(f);
	g_assert_cmpint(unlink(local), ==, 0);
	f = box_open_file(&b, "d/f", 1);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 2);
	g_assert_true(box_exists(local));
	/* every chunk, but not the mark that it is whole, nor the time */
	box_fill(f, 1, 2, CHUNKS - 1);
	store_file_close(f);
	xattr_read(local, data);
	g_assert_cmpuint(d->flags, ==, RECORD_COMPLETE);
	d->flags = 0;
	xattr_write(local, data, 56);
	g_assert_cmpint(utimensat(AT_FDCWD, local, NULL, 0), ==, 0);
	g_assert_cmpint(store_open_readonly(b.store, "d/f", 1001), ==, -ENOENT);
	f = box_open_file(&b, "d/f", 1);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	g_assert_cmpint(stat(local, &st), ==, 0);
	g_assert_cmpint(st.st_mtim.tv_sec, ==, 1600000000);
	xattr_read(local, data);
	g_assert_cmpuint(d->flags, ==, RECORD_COMPLETE);
	/* a map without a file: it blocks nothing */
	box_close(&b);
	box_open(&b);
	store_file_close(box_open_file(&b, "d/f", 1));
	box_free(&b);
}

/* Fills files until it is killed. */
static void work(struct box *b, unsigned seed)
{
	srandom(seed);
	for (;;) {
		unsigned file = random() % 12;
		g_autofree char *path = g_strdup_printf("d%u/f", file);
		struct store_file *f = box_create(b, path, file, file % 3 ? SIZE : 3000);
		unsigned n = random() % (CHUNKS + 1);

		for (unsigned i = 0; i < n; i++) {
			uint64_t k = random() % store_file_chunks(f);

			if (!store_file_present(f, k, k))
				g_assert_cmpint(box_publish(f, file, k), ==, 0);
		}
		store_file_close(f);
	}
}

static void test_killed(void)
{
	struct box b;
	unsigned present = 0;

	box_new(&b);
	box_close(&b);
	for (unsigned round = 0; round < 40; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			box_open(&b);
			work(&b, round);
		}
		g_usleep(2000 + g_test_rand_int_range(0, 15000));
		kill(pid, SIGKILL);
		g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
		if (round % 4 == 3) {
			g_autofree char *epoch = box_state(&b, "epoch");

			if (box_exists(epoch))
				box_reboot(&b);
		}
		box_open(&b);
		for (unsigned file = 0; file < 12; file++) {
			g_autofree char *path = g_strdup_printf("d%u/f", file);
			struct store_file *f = NULL;
			int err = store_file_open(b.store, path, 1000 + file, &f);

			g_assert_true(err == 0 || err == -ENOENT);
			if (f == NULL)
				continue;
			/* the page cache is alive, whatever the epoch */
			for (uint64_t k = 0; k < store_file_chunks(f); k++)
				if (store_file_doubtful(f, k))
					g_assert_cmpint(store_file_verify(f, k), ==, 0);
			box_check(f, file);
			present += store_file_chunks_present(f);
			store_file_close(f);
			if (round % 8 == 7) {
				g_autofree char *local = box_tree(&b, path);

				unlink(local);
			}
		}
		box_crash(&b);
	}
	g_assert_cmpuint(present, >, 0);
	box_open(&b);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/damage/record-length", test_record_length);
	g_test_add_func("/damage/record-bits", test_record_bits);
	g_test_add_func("/damage/later-version", test_later_version);
	g_test_add_func("/damage/map", test_map);
	g_test_add_func("/damage/slots", test_slots);
	g_test_add_func("/damage/slot-then-change", test_slot_then_change);
	g_test_add_func("/damage/slot-past-limit", test_slot_past_limit);
	g_test_add_func("/damage/sync-of-damage", test_sync_of_damage);
	g_test_add_func("/damage/first-block", test_first_block);
	g_test_add_func("/damage/map-goes", test_map_goes);
	g_test_add_func("/damage/origin-leftover", test_origin_leftover);
	g_test_add_func("/damage/changed", test_changed);
	g_test_add_func("/damage/not-bound", test_not_bound);
	g_test_add_func("/damage/cut-short", test_cut_short);
	g_test_add_func("/damage/killed", test_killed);
	return g_test_run();
}
