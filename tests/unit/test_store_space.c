/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Space for fetched data, when files were used, and pins: in memory and across sessions. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fetch/store/disk/pins.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/disk/lru.h"
#include "fetch/store/tree/measure.h"
#include "fetch/store/tree/tree.h"
#include "tests/unit/store_box.h"

#define SIZE (16 * 4096)
#define MUCH (UINT64_C(1) << 60)

static void test_lack(void)
{
	static const struct {
		struct space_look look;
		uint64_t need;
		unsigned part;
		uint64_t lack;
	} rows[] = {
	        {{.free = 200, .floor = 100, .slack = 50}, 0, 1, 0},
	        {{.free = 120, .floor = 100, .slack = 50}, 0, 1, 30},
	        {{.free = 120, .floor = 100, .slack = 50}, 0, 2, 5},
	        {{.free = 120, .floor = 100, .slack = 50}, 100, 1, 130},
	        {{.free = 0, .floor = 0, .slack = 0}, 0, 1, 0},
	        {{.free = 900, .quota = 100, .used = 99, .quota_slack = 4}, 0, 1, 3},
	        {{.free = 900, .quota = 100, .used = 98, .quota_slack = 4}, 0, 2, 0},
	        {{.free = 900, .quota = 100, .used = 300, .quota_slack = 4}, 0, 1, 204},
	        {{.free = 10, .floor = 20, .quota = 100, .used = 95}, 0, 1, 10},
	};

	for (size_t n = 0; n < G_N_ELEMENTS(rows); n++)
		g_assert_cmpuint(space_lack(&rows[n].look, rows[n].need, rows[n].part), ==,
		                 rows[n].lack);
}

static void test_take(void)
{
	struct space_use use;
	struct box b;

	box_new(&b);
	store_space_limit(b.store, &(struct space_limits){.quota = 100000});
	g_assert_cmpint(store_space_take(b.store, 60000), ==, 0);
	g_assert_cmpint(store_space_take(b.store, 60000), ==, -ENOSPC);
	g_assert_cmpint(store_space_take(b.store, 40000), ==, 0);
	g_assert_cmpint(store_space_take(b.store, 1), ==, -ENOSPC);
	store_space_give(b.store, 50000);
	store_space_use(b.store, &use);
	g_assert_cmpuint(use.used, ==, 50000);
	g_assert_cmpint(store_space_take(b.store, 50000), ==, 0);
	store_space_give(b.store, MUCH); /* never below 0 */
	store_space_use(b.store, &use);
	g_assert_true(use.used == 0 && use.fetched == 0 && use.known);
	store_space_limit(b.store, &(struct space_limits){.min_free = MUCH});
	g_assert_cmpint(store_space_take(b.store, 1), ==, -ENOSPC);
	store_space_limit(b.store, &(struct space_limits){0});
	g_assert_cmpint(store_space_take(b.store, 1), ==, 0);
	box_free(&b);
}

struct walked {
	unsigned files;
	uint64_t bytes, number;
	bool wanted;
};

static void found(void *user, const struct measured *m)
{
	struct walked *f = user;

	f->files++;
	f->bytes += m->bytes;
	if (strcmp(m->path, "d/fetched") == 0)
		f->number = m->number;
}

static bool wanted(void *user)
{
	return ((struct walked *)user)->wanted;
}

static void make_files(struct box *b)
{
	const struct tree_maker m = {.mode = S_IFREG | 0600};
	struct store_file *f = box_create(b, "d/fetched", 1, SIZE);
	int fd;

	box_fill(f, 1, 0, 15);
	store_file_close(f);
	f = box_create(b, "part", 2, SIZE);
	box_fill(f, 2, 3, 4);
	store_file_close(f);
	fd = tree_make_file(b->store, "mine", &m);
	g_assert_cmpint(pwrite(fd, "mine", 4, 100000), ==, 4);
	close(fd);
}

static void measure(struct box *b, struct walked *f)
{
	const struct measure m = {.file = found, .wanted = wanted, .user = f};

	*f = (struct walked){.wanted = true};
	g_assert_cmpint(store_measure(b->store, &m), ==, 0);
}

static void test_measure(void)
{
	struct space_use use;
	struct walked f;
	struct box b;

	box_new(&b);
	make_files(&b);
	measure(&b, &f);
	store_space_use(b.store, &use);
	g_assert_cmpuint(f.files, ==, 2);
	g_assert_cmpuint(f.bytes, ==, SIZE + 2 * 4096);
	g_assert_cmpuint(use.fetched, ==, f.bytes);
	g_assert_cmpuint(use.used, >=, f.bytes + 4096);
	g_assert_true(use.known && f.number);
	f.wanted = false;
	const struct measure m = {.file = found, .wanted = wanted, .user = &f};
	g_assert_cmpint(store_measure(b.store, &m), ==, -ECANCELED);
	box_free(&b);
}

/* Counts and times last across a clean close; after a crash the times do. */
static void test_sessions(void)
{
	struct space_use use, before;
	struct walked f;
	struct box b;
	uint32_t at;

	box_new(&b);
	make_files(&b);
	measure(&b, &f);
	store_lru_touch(b.store, f.number);
	at = store_lru_time(b.store, f.number);
	g_assert_cmpuint(at, >, 0);
	g_assert_cmpuint(store_lru_time(b.store, 1), ==, 0);
	store_space_use(b.store, &before);
	box_close(&b);
	box_open(&b);
	store_space_use(b.store, &use);
	g_assert_true(use.known && use.used == before.used && use.fetched == before.fetched);
	g_assert_cmpuint(store_lru_time(b.store, f.number), ==, at);
	struct store_file *more = box_create(&b, "more", 3, SIZE);
	box_fill(more, 3, 0, 1);
	store_file_close(more);
	box_crash(&b);
	box_open(&b);
	store_space_use(b.store, &use);
	g_assert_false(use.known);
	g_assert_cmpuint(store_lru_time(b.store, f.number), ==, at);
	box_free(&b);
}

static void damage(char *data, gsize *length, unsigned n)
{
	switch (n) {
	case 0:
		*length = 0;
		break;
	case 1:
		*length -= 8;
		break;
	case 2: /* the count */
		memset(data + 32, 0xff, 8);
		break;
	default:
		data[n - 3] ^= 1;
	}
}

static void test_damage(void)
{
	struct space_use use;
	struct box b;
	gsize length;
	g_autofree char *good = NULL;

	box_new(&b);
	make_files(&b);
	store_lru_touch(b.store, 77);
	box_close(&b);
	g_autofree char *path = box_state(&b, "usage");
	g_assert_true(g_file_get_contents(path, &good, &length, NULL));
	g_assert_cmpuint(length, ==, 48 + 16);
	for (unsigned n = 0; n < 3 + length; n++) {
		g_autofree char *bad = g_memdup2(good, length);
		gsize size = length;

		damage(bad, &size, n);
		g_assert_true(g_file_set_contents(path, bad, (gssize)size, NULL));
		box_open(&b);
		store_space_use(b.store, &use);
		g_assert_true(!use.known && store_lru_time(b.store, 77) == 0);
		box_close(&b);
	}
	box_open(&b);
	box_free(&b);
}

static void test_pins(void)
{
	const uint64_t inos[] = {1, 0xff, UINT64_MAX, UINT64_C(0x123456789abcdef0)};
	struct box b;

	box_new(&b);
	for (size_t n = 0; n < G_N_ELEMENTS(inos); n++)
		g_assert_cmpint(store_pin(b.store, inos[n], "f"), ==, 0);
	g_assert_cmpint(store_pin(b.store, 1, "f"), ==, 0);
	g_assert_cmpint(store_unpin(b.store, 2), ==, 0);
	g_assert_cmpint(store_unpin(b.store, 0xff), ==, 0);
	g_autofree char *stray = box_state(&b, "pins/stray");
	g_assert_true(g_file_set_contents(stray, "x", 1, NULL));
	box_crash(&b);
	box_open(&b);
	g_assert_cmpuint(store_pins(b.store), ==, 3);
	for (size_t n = 0; n < G_N_ELEMENTS(inos); n++)
		g_assert_true(store_is_pinned(b.store, inos[n]) == (inos[n] != 0xff));
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/store/space/lack", test_lack);
	g_test_add_func("/store/space/take", test_take);
	g_test_add_func("/store/space/measure", test_measure);
	g_test_add_func("/store/space/sessions", test_sessions);
	g_test_add_func("/store/space/damage", test_damage);
	g_test_add_func("/store/space/pins", test_pins);
	return g_test_run();
}
