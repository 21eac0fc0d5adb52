/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pieces of an index come and go while several threads use it, and are never believed twice. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/index/index_private.h"
#include "fetch/publish/publish.h"

enum { FILES = 3000, THREADS = 4, ROUNDS = 30 };

struct box {
	char *directory, *index; /* paths, owned */
	struct publish_result made;
};

/* A tree of empty files, and its index of several pieces. */
static void box_open(struct box *b)
{
	g_autoptr(GError) error = NULL;
	b->directory = g_dir_make_tmp("lacunafs-XXXXXX", NULL);
	for (unsigned n = 0; n < FILES; n++) {
		g_autofree char *path = g_strdup_printf("%s/file-%04u", b->directory, n);
		g_assert_true(g_file_set_contents(path, "", 0, NULL));
	}
	const struct publish_options o = {.directory = b->directory, .threads = 1};
	publish(&o, &b->made, &error);
	g_assert_no_error(error);
	g_autofree char *name = head_index_name(&b->made.head);
	b->index = g_build_filename(b->directory, ".lacuna", name, NULL);
}

static void box_close(struct box *b)
{
	const char *const argv[] = {"rm", "-rf", b->directory, NULL};
	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
	                           NULL, NULL, NULL));
	g_free(b->directory);
	g_free(b->index);
}

static struct index *opened(const struct box *b)
{
	g_autoptr(GError) error = NULL;
	int fd = open(b->index, O_RDONLY | O_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	struct index *x = index_open(fd, "index", &b->made.head.root, &error);
	g_assert_no_error(error);
	return x;
}

struct look {
	struct index *index;
	unsigned found;
};

static bool look(void *user, const struct index_name *name, GError **error)
{
	struct look *l = user;
	struct index_node node;
	if (!index_node(l->index, name->nid, &node, error))
		return false;
	l->found += S_ISREG(node.mode);
	return true;
}

static bool list(struct index *x, unsigned *found, GError **error)
{
	struct index_node top;
	struct look l = {.index = x};
	bool ok = index_top(x, &top, error) && index_list(x, &top, top.nid, look, &l, error);
	*found = l.found;
	return ok;
}

static void *list_often(void *user)
{
	for (unsigned n = 0; n < ROUNDS; n++) {
		g_autoptr(GError) error = NULL;
		unsigned found;
		list(user, &found, &error);
		g_assert_no_error(error);
		g_assert_cmpuint(found, ==, FILES);
	}
	return NULL;
}

static void test_threads(void)
{
	struct box b;
	box_open(&b);
	struct index *x = opened(&b);
	pthread_t threads[THREADS];
	x->loaded_max = 1;
	for (unsigned n = 0; n < THREADS; n++)
		g_assert_cmpint(pthread_create(&threads[n], NULL, list_often, x), ==, 0);
	for (unsigned n = 0; n < THREADS; n++)
		g_assert_cmpint(pthread_join(threads[n], NULL), ==, 0);
	g_assert_cmpuint(x->users, ==, 0);
	g_assert_cmpuint(x->loaded, <=, 1);
	index_unref(x);
	box_close(&b);
}

/* What is in memory stays as it was checked; what is read anew is checked anew. */
static void test_changed(void)
{
	struct box b;
	unsigned found;
	box_open(&b);
	struct index *x = opened(&b);
	g_assert_true(list(x, &found, NULL));
	g_assert_cmpuint(x->loaded, >, 2);
	g_chmod(b.index, 0600);
	int fd = open(b.index, O_RDWR | O_CLOEXEC);
	g_autofree char *zeros = g_malloc0(x->tail.leaves);
	g_assert_cmpint(pwrite(fd, zeros, x->tail.leaves, 0), ==, (gssize)x->tail.leaves);
	g_assert_true(list(x, &found, NULL));
	g_assert_cmpuint(found, ==, FILES);
	x->loaded_max = 0;
	index_enter(x);
	index_leave(x);
	g_assert_cmpuint(x->loaded, ==, 0);

	g_autoptr(GError) changed = NULL, cut = NULL;
	g_assert_false(list(x, &found, &changed));
	g_assert_error(changed, FETCH_ERROR, FETCH_PROTOCOL);
	g_assert_cmpint(ftruncate(fd, 0), ==, 0);
	g_assert_false(list(x, &found, &cut));
	g_assert_nonnull(strstr(cut->message, "cut short"));
	close(fd);
	index_unref(x);
	box_close(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/index_pieces/threads", test_threads);
	g_test_add_func("/index_pieces/changed", test_changed);
	return g_test_run();
}
