/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/dir_box.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/source/dir/dir.h"

struct waiting {
	union {
		struct source_request base;
		struct source_list list;
		struct source_stat stat;
	};
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	GError *error;
};

static void waiting_done(struct source_request *req, const GError *error)
{
	struct waiting *w = (struct waiting *)req;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	w->error = error ? g_error_copy(error) : NULL;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

static bool waiting_end(struct waiting *w, GError **error)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->ended, &w->lock);
	pthread_mutex_unlock(&w->lock);
	if (w->error == NULL)
		return true;
	g_propagate_error(error, w->error);
	return false;
}

void dir_box_new(struct dir_box *b)
{
	struct source_options options = {.connections = 4};
	g_autoptr(GError) error = NULL;
	g_autofree char *tree = NULL;

	b->root = g_dir_make_tmp("lacuna-dir-XXXXXX", NULL);
	tree = g_build_filename(b->root, "tree", NULL);
	g_assert_cmpint(mkdir(tree, 0755), ==, 0);
	b->fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->source = dir_source_open(tree, &options, &error);
	g_assert_no_error(error);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

void dir_box_free(struct dir_box *b)
{
	if (b->source)
		source_close(b->source);
	close(b->fd);
	nftw(b->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	g_free(b->root);
}

void dir_box_put(struct dir_box *b, const char *path, const void *bytes, size_t length)
{
	int fd = openat(b->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	g_assert_cmpint(fd, >=, 0);
	for (size_t done = 0; done < length;) {
		ssize_t n = write(fd, (const char *)bytes + done, length - done);

		g_assert_cmpint(n, >, 0);
		done += n;
	}
	close(fd);
}

void dir_box_run(struct dir_box *b, const char *command)
{
	g_autofree char *tree = g_build_filename(b->root, "tree", NULL);
	const char *argv[] = {"/bin/sh", "-ec", command, NULL};
	int status = -1;

	g_assert_true(
	        g_spawn_sync(tree, (char **)argv, NULL, 0, NULL, NULL, NULL, NULL, &status, NULL));
	g_assert_cmpint(status, ==, 0);
}

struct listing *dir_box_list(struct dir_box *b, const char *path, struct listing *previous,
                             GError **error)
{
	struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

	w.list.base.path = (char *)path;
	w.list.base.done = waiting_done;
	w.list.previous = previous;
	source_list(b->source, &w.list);
	return waiting_end(&w, error) ? w.list.listing : NULL;
}

const struct listing_entry *dir_box_entry(const struct listing *l, const char *name)
{
	uint32_t index = 0;

	g_assert_true(listing_find(l, name, &index));
	return listing_at(l, index);
}

bool dir_box_stat(struct dir_box *b, const char *path, struct source_stat *out, GError **error)
{
	struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

	w.stat.base.path = (char *)path;
	w.stat.base.done = waiting_done;
	source_stat(b->source, &w.stat);
	if (!waiting_end(&w, error))
		return false;
	*out = w.stat;
	return true;
}

static int read_begin(struct source_read *req)
{
	struct dir_read *r = (struct dir_read *)req;

	g_assert_true(req->version != 0);
	r->begun = true;
	return r->refuse_begin;
}

static int read_lend(struct source_read *req, uint64_t offset, uint64_t length)
{
	return ((struct dir_read *)req)->fd;
}

static void read_give_back(struct source_read *req)
{
}

static int read_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	struct dir_read *r = (struct dir_read *)req;

	g_assert_cmpuint(offset, ==, r->offset + r->got);
	r->calls++;
	r->placed += buffer == NULL;
	if (r->refuse_data)
		return r->refuse_data;
	g_assert_true(buffer || r->place);
	if (buffer && r->fd >= 0)
		g_assert_cmpint(pwrite(r->fd, buffer, length, (off_t)offset), ==, length);
	r->got += length;
	if (r->before_data)
		r->before_data(r, offset);
	return 0;
}

static void read_done(struct source_request *req, const GError *error)
{
	struct dir_read *r = (struct dir_read *)req;

	pthread_mutex_lock(&r->lock);
	r->error = error ? g_error_copy(error) : NULL;
	r->done = true;
	pthread_cond_signal(&r->ended);
	pthread_mutex_unlock(&r->lock);
}

void dir_box_submit(struct dir_box *b, const char *path, struct dir_read *r)
{
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->ended, NULL);
	r->read = (struct source_read){
	        .base = {.path = (char *)path, .done = read_done},
	        .offset = r->offset,
	        .length = r->length,
	        .size = r->size,
	        .pinned = r->pinned,
	        .lend = r->place ? read_lend : NULL,
	        .give_back = read_give_back,
	        .begin = read_begin,
	        .data = read_data,
	};
	source_read(b->source, &r->read);
}

bool dir_box_wait(struct dir_read *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->done)
		pthread_cond_wait(&r->ended, &r->lock);
	pthread_mutex_unlock(&r->lock);
	return r->error == NULL;
}

bool dir_box_read(struct dir_box *b, const char *path, struct dir_read *r)
{
	dir_box_submit(b, path, r);
	return dir_box_wait(r);
}

void dir_read_clear(struct dir_read *r)
{
	g_clear_error(&r->error);
}
