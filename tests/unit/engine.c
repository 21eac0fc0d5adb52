/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/engine.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/fill/fill_private.h"
#include "fetch/store/opening.h"

static void on_changed(void *user, struct content *c)
{
	__atomic_add_fetch(&((struct engine *)user)->changed, 1, __ATOMIC_SEQ_CST);
}

static void on_completed(void *user, struct content *c)
{
	g_assert_true(content_complete(c));
	__atomic_add_fetch(&((struct engine *)user)->completed, 1, __ATOMIC_SEQ_CST);
}

static void on_released(void *user, struct content *c, void *owner)
{
	struct engine *e = user;

	g_assert_true(owner == user);
	__atomic_add_fetch(&e->released, 1, __ATOMIC_SEQ_CST);
	if (e->release)
		e->release(e->user, c);
}

static void on_relisted(void *user, struct directory *d, struct listing *before,
                        struct listing *after)
{
	char name[16] = "";

	/* it looks into the store: never on a thread of the source */
	pthread_getname_np(pthread_self(), name, sizeof name);
	g_assert_cmpstr(name, ==, "disk");
	g_assert_nonnull(after);
	__atomic_add_fetch(&((struct engine *)user)->relisted, 1, __ATOMIC_SEQ_CST);
}

void engine_start(struct engine *e, bool end_epoch)
{
	g_autoptr(GError) error = NULL;
	struct store_settings settings = {
	        .source = "fake:",
	        .chunk_shift = e->options.chunk_shift,
	        .end_epoch = end_epoch,
	};
	struct fill_options fill = {
	        .wait_ms = e->options.wait_ms ? e->options.wait_ms : 10000,
	        .prefetch_bytes = e->options.prefetch_bytes,
	        .changed = on_changed,
	        .completed = on_completed,
	        .released = on_released,
	        .user = e,
	};
	struct lister_options lister = {
	        .wait_ms = fill.wait_ms,
	        .ttl_ms = e->options.each_time ? 0
	                  : e->options.ttl_ms  ? e->options.ttl_ms
	                                       : 300000,
	        .changed = on_relisted,
	        .user = e,
	};

	e->store = store_open(e->path, &settings, &error);
	g_assert_no_error(error);
	e->fake = fake_source_new(e->options.threads ? e->options.threads : 2);
	e->disk = pool_new("disk", 2);
	e->clock = alarm_clock_new();
	e->fill = fill_new(e->store, &e->fake->base, e->disk, e->clock, &fill);
	e->lister = lister_new(e->store, &e->fake->base, e->disk, e->clock, &lister);
}

void engine_stop(struct engine *e)
{
	fill_stop(e->fill);
	lister_stop(e->lister);
	source_close(&e->fake->base);
	pool_free(e->disk);
	fill_free(e->fill);
	lister_free(e->lister);
	alarm_clock_free(e->clock);
	g_assert_cmpint(store_close(e->store), ==, 0);
}

struct engine *engine_new(const struct engine_options *options)
{
	struct engine *e = g_new0(struct engine, 1);
	g_autoptr(GError) error = NULL;

	if (options)
		e->options = *options;
	e->path = g_dir_make_tmp("lacunafs-unit-XXXXXX", &error);
	g_assert_no_error(error);
	engine_start(e, false);
	return e;
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);
		struct stat st;

		if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
			remove_tree(child);
		else
			unlink(child);
	}
	rmdir(path);
}

void engine_free(struct engine *e)
{
	engine_stop(e);
	remove_tree(e->path);
	g_free(e->path);
	g_free(e);
}

struct content *engine_content(struct engine *e, const char *path)
{
	struct store_origin origin = {
	        .ino = g_str_hash(path) | UINT64_C(1) << 32,
	        .size = fake_file_size(e->fake, path),
	        .mtime_ns = 1700000000000000000,
	        .mode = S_IFREG | 0644,
	        .uid = getuid(),
	        .gid = getgid(),
	        .nlink = 1,
	};
	struct content *c = content_new(e->fill, path, path, &origin, e);

	g_assert_cmpint(content_open(c), ==, 0);
	return c;
}

static void waiter_done(struct fill_wait *wait, int error)
{
	struct waiter *w = (struct waiter *)wait;

	pthread_mutex_lock(&w->lock);
	w->calls++;
	w->error = error;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

void waiter_init(struct waiter *w)
{
	*w = (struct waiter){.wait.done = waiter_done, .wait.cause.pid = getpid()};
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
}

int waiter_want(struct waiter *w, struct content *c, uint64_t offset, uint64_t length,
                uint64_t ahead)
{
	w->wait.offset = offset;
	w->wait.length = length;
	return fill_want(c, &w->wait, ahead);
}

int waiter_wait(struct waiter *w)
{
	int error;

	pthread_mutex_lock(&w->lock);
	while (w->calls == 0)
		pthread_cond_wait(&w->changed, &w->lock);
	g_assert_cmpuint(w->calls, ==, 1);
	error = w->error;
	pthread_mutex_unlock(&w->lock);
	return error;
}

unsigned waiter_calls(struct waiter *w)
{
	unsigned calls;

	pthread_mutex_lock(&w->lock);
	calls = w->calls;
	pthread_mutex_unlock(&w->lock);
	return calls;
}

int content_read(struct content *c, uint64_t offset, uint64_t length, uint64_t ahead)
{
	struct waiter w;
	int result;

	waiter_init(&w);
	result = waiter_want(&w, c, offset, length, ahead);
	if (result == -EINPROGRESS)
		result = -waiter_wait(&w);
	if (result == 0)
		g_assert_true(content_present(c, offset, length));
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.changed);
	return -result;
}

void content_check(struct content *c, unsigned version, uint64_t offset, uint64_t length)
{
	g_autofree uint8_t *here = NULL, *there = NULL;

	length = offset < content_size(c) ? MIN(length, content_size(c) - offset) : 0;
	here = g_malloc(length + 1);
	there = g_malloc(length + 1);
	g_assert_cmpint(pread(content_fd(c), here, length, offset), ==, length);
	fake_bytes(c->path, version, offset, there, length);
	g_assert_cmpmem(here, length, there, length);
}

static void log_line(const char *domain, GLogLevelFlags level, const char *message, gpointer user)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
		g_log_default_handler(domain, level, message, user);
}

void engine_quiet(void)
{
	g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
	g_log_set_default_handler(log_line, NULL);
}
