/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <glib.h>
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

/* A tree: /a/sub/y, /ab/z */
struct box {
	struct server s;
	struct inode root, a, sub, y, ab, z;
};

static void box_open(struct box *b)
{
	*b = (struct box){
	        .root = {.name = ""},
	        .a = {.name = "a", .parent = &b->root},
	        .sub = {.name = "sub", .parent = &b->a},
	        .y = {.name = "y", .parent = &b->sub},
	        .ab = {.name = "ab", .parent = &b->root},
	        .z = {.name = "z", .parent = &b->ab},
	};
	rwlock_init(&b->s.names, RANK_NAMES);
	b->s.ways = ways_new();
}

static void box_close(struct box *b)
{
	ways_free(b->s.ways);
	rwlock_destroy(&b->s.names);
}

/* Another thread, which wants a way to `i`, or to `name` in it, or a move of it to `name` in /ab.
 */
struct other {
	struct box *b;
	struct inode *i;
	const char *name;
	bool moves;
	struct way w;
	struct move m;
	int began;  /* atomic */
	char *path; /* owned; that it came by */
	GThread *thread;
};

static gpointer other_run(gpointer data)
{
	struct other *o = data;
	struct server *s = &o->b->s;
	if (o->moves)
		move_begin(s, &o->m);
	else if (o->name)
		way_to_child(s, o->i, o->name, NULL, &o->w);
	else
		way_to(s, o->i, &o->w);
	o->path = g_strdup(o->moves ? o->m.from : o->w.path);
	g_atomic_int_set(&o->began, 1);
	if (o->moves)
		move_end(s, &o->m);
	else
		way_end(s, &o->w);
	return NULL;
}

static void other_start(struct other *o)
{
	o->m = (struct move){
	        .i = o->i,
	        .dir = o->i->parent,
	        .name = o->i->name,
	        .newdir = o->name ? &o->b->ab : NULL,
	        .newname = o->name,
	};
	o->thread = g_thread_new("other", other_run, o);
}

static void waits(const struct other *o)
{
	g_usleep(30000);
	g_assert_false(g_atomic_int_get(&o->began));
}

/* The thread gets its way, by that path, and ends. */
static void comes(struct other *o, const char *path)
{
	g_thread_join(o->thread);
	g_assert_cmpstr(o->path, ==, path);
	g_free(o->path);
}

static void passes(struct box *b, struct inode *i, const char *name, const char *path)
{
	struct other o = {.b = b, .i = i, .name = name};
	other_start(&o);
	comes(&o, path);
}

/* A directory moves: ways below it wait, and then have the new path. */
static void test_move(void)
{
	struct box b;
	box_open(&b);
	struct move m = {&b.a, NULL, &b.root, &b.ab, "a", "new", NULL, NULL};
	move_begin(&b.s, &m);
	g_assert_cmpstr(m.from, ==, "a");
	g_assert_cmpstr(m.to, ==, "ab/new");
	struct other below = {.b = &b, .i = &b.y};
	struct other target = {.b = &b, .i = &b.ab, .name = "new"};
	struct other mover = {.b = &b, .i = &b.z, .name = "zz", .moves = true};
	other_start(&below);
	other_start(&target);
	other_start(&mover);
	passes(&b, &b.root, NULL, "");
	passes(&b, &b.root, "abc", "abc");
	passes(&b, &b.z, NULL, "ab/z");
	g_autofree char *known = inode_path_known(&b.s, &b.y);
	g_assert_cmpstr(known, ==, "a/sub/y");
	waits(&below);
	waits(&target);
	waits(&mover);
	rwlock_wrlock(&b.s.names);
	b.a.parent = &b.ab;
	b.a.name = "new";
	rwlock_unlock(&b.s.names);
	waits(&below);
	move_end(&b.s, &m);
	comes(&below, "ab/new/sub/y");
	comes(&target, "ab/new");
	comes(&mover, "ab/z");
	box_close(&b);
}

/* A way to a file without a name, or with another, waits nevertheless. */
static void test_itself(void)
{
	struct box b;
	box_open(&b);
	struct move m = {.i = &b.y, .other = &b.z, .dir = &b.root, .name = "alias"};
	move_begin(&b.s, &m);
	struct other one = {.b = &b, .i = &b.y}, two = {.b = &b, .i = &b.z};
	other_start(&one);
	other_start(&two);
	passes(&b, &b.sub, "y", "a/sub/y");
	waits(&one);
	waits(&two);
	move_end(&b.s, &m);
	comes(&one, "a/sub/y");
	comes(&two, "ab/z");
	box_close(&b);
}

/* A way in use delays a move of its path, and the waiting move delays no other way. */
static void test_way(void)
{
	struct box b;
	box_open(&b);
	struct way w;
	way_to(&b.s, &b.y, &w);
	struct other above = {.b = &b, .i = &b.a, .name = "new", .moves = true};
	other_start(&above);
	waits(&above);
	passes(&b, &b.y, NULL, "a/sub/y");
	struct other elsewhere = {.b = &b, .i = &b.z, .moves = true};
	other_start(&elsewhere);
	comes(&elsewhere, "ab/z");
	waits(&above);
	way_end(&b.s, &w);
	comes(&above, "a");
	box_close(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ways/move", test_move);
	g_test_add_func("/ways/itself", test_itself);
	g_test_add_func("/ways/way", test_way);
	return g_test_run();
}
