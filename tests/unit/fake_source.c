/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/fake_source.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_job {
	struct pool_job job;
	struct fake_source *source;
	struct source_request *request;
	enum { FAKE_LIST, FAKE_STAT, FAKE_READ } kind;
};

/* Waits for the gate; the error that was ordered, if any. */
static GError *fake_admit(struct fake_source *s)
{
	GError *error = NULL;

	pthread_mutex_lock(&s->lock);
	while (s->gate && !s->closing)
		pthread_cond_wait(&s->changed, &s->lock);
	if (s->closing)
		error = g_error_new(FETCH_ERROR, FETCH_CANCELLED, "closing");
	else if (s->fail >= 0)
		error = g_error_new(FETCH_ERROR, s->fail, "as ordered");
	if (s->fail >= 0 && s->fail_count > 0 && --s->fail_count == 0)
		s->fail = -1;
	pthread_mutex_unlock(&s->lock);
	return error;
}

static bool fake_put(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	int fd = r->lend(r, offset, length);
	bool placed = fd >= 0 && pwrite(fd, buffer, length, offset) == (ssize_t)length;

	if (fd >= 0)
		r->give_back(r);
	return placed;
}

static int fake_place(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	bool placed = fake_put(r, offset, buffer, length);

	return r->data(r, offset, placed ? NULL : buffer, length);
}

/* Waits while the stream is stalled; false: the source is being closed. */
static bool fake_go_on(struct fake_source *s, uint64_t delivered)
{
	bool on;

	pthread_mutex_lock(&s->lock);
	while (s->stall && delivered >= s->stall_after && !s->closing)
		pthread_cond_wait(&s->changed, &s->lock);
	on = !s->closing;
	pthread_mutex_unlock(&s->lock);
	return on;
}

static GError *fake_deliver(struct fake_source *s, struct source_read *r, struct fake_file *file)
{
	size_t piece = s->piece ? s->piece : 16384;
	g_autofree uint8_t *buffer = g_malloc(piece);
	uint64_t end = r->offset + r->length, cut = s->cut_after ? r->offset + s->cut_after : end;
	int err = r->begin(r);

	if (s->fail_one_in) {
		unsigned random;

		pthread_mutex_lock(&s->lock);
		random = s->random = s->random * 1103515245 + 12345;
		pthread_mutex_unlock(&s->lock);
		if ((random >> 16) % s->fail_one_in == 0)
			cut = r->offset + (random >> 8) % r->length;
	}
	for (uint64_t at = r->offset; err == 0 && at < MIN(end, cut);) {
		size_t n = MIN(piece, MIN(end, cut) - at);

		if (s->delay_us)
			g_usleep(s->delay_us);
		if (!fake_go_on(s, at - r->offset))
			return g_error_new(FETCH_ERROR, FETCH_CANCELLED, "closing");
		if (s->overtaken >= at && s->overtaken - at < n && s->overtaken != 0) {
			fake_bytes(r->base.path, file->version + 1, at, buffer, n);
			fake_put(r, at, buffer, n);
			return g_error_new(FETCH_ERROR, FETCH_CHANGED, "has changed");
		}
		fake_bytes(r->base.path, file->version, at, buffer, n);
		err = s->places ? fake_place(r, at, buffer, n) : r->data(r, at, buffer, n);
		at += n;
	}
	if (err)
		return g_error_new(LOCAL_ERROR, -err, "the reader said %s", g_strerror(-err));
	if (cut < end)
		return g_error_new(FETCH_ERROR, FETCH_PROTOCOL, "cut short");
	return NULL;
}

static GError *fake_read(struct fake_source *s, struct source_read *r)
{
	struct fake_file *found, file;
	struct fake_read seen = {.offset = r->offset, .length = r->length};

	g_strlcpy(seen.path, r->base.path, sizeof seen.path);
	pthread_mutex_lock(&s->lock);
	found = g_hash_table_lookup(s->files, r->base.path);
	file = found ? *found : (struct fake_file){0};
	g_array_append_val(s->reads, seen);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);

	r->supplied = s->supplied > 0 && r->offset == s->supplied;
	g_autoptr(GError) error = r->supplied ? NULL : fake_admit(s);
	if (error)
		return g_steal_pointer(&error);
	if (found == NULL)
		return g_error_new(FETCH_ERROR, FETCH_MISSING, "%s: none", r->base.path);
	r->version = 1000 * (1 + file.label) + file.version;
	if (r->size != file.size || (r->pinned && r->pinned != r->version))
		return g_error_new(FETCH_ERROR, FETCH_CHANGED, "%s: changed", r->base.path);
	if (s->ignore_range || r->supplied) {
		r->offset = 0;
		r->length = file.size;
	}
	file.version += r->supplied;
	return fake_deliver(s, r, &file);
}

static struct listing *fake_listing(struct fake_directory *d, struct listing *previous)
{
	struct listing_builder *b;
	g_autofree char *validator = g_strdup_printf("v%u", d->version);

	if (previous && strcmp(listing_validator(previous), validator) == 0)
		return listing_ref(previous);
	b = listing_builder_new();
	for (unsigned n = 0; n < d->entries; n++) {
		g_autofree char *name = g_strdup_printf("f%04u", n);
		struct listing_entry e = {
		        .ino = 100 + n,
		        .size = d->exact ? (n + 1) * 1000 : (n + 1) * 1000 / 1024 * 1024,
		        .mode = S_IFREG | 0644,
		        .nlink = 1,
		        .flags = d->exact ? LISTING_SIZE_EXACT : 0,
		};

		g_assert_true(listing_builder_add(b, name, strlen(name), &e, NULL, NULL, NULL));
	}
	return listing_builder_finish(b, validator, clock_realtime(), previous);
}

static GError *fake_list(struct fake_source *s, struct source_list *r)
{
	g_autoptr(GError) error = NULL;
	struct fake_directory *found, d;

	pthread_mutex_lock(&s->lock);
	s->lists++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	error = fake_admit(s);
	if (error)
		return g_steal_pointer(&error);
	pthread_mutex_lock(&s->lock);
	found = g_hash_table_lookup(s->directories, r->base.path);
	d = found ? *found : (struct fake_directory){0};
	if (s->empty_lists > 0) {
		s->empty_lists--;
		d = (struct fake_directory){.version = G_MAXUINT};
	}
	pthread_mutex_unlock(&s->lock);
	if (found == NULL)
		return g_error_new(FETCH_ERROR, FETCH_MISSING, "no such directory");
	r->listing = fake_listing(&d, r->previous);
	return NULL;
}

static GError *fake_stat(struct fake_source *s, struct source_stat *r)
{
	const char *name = strrchr(r->base.path, '/');
	GError *error;

	pthread_mutex_lock(&s->lock);
	s->stats++;
	s->listed_ns = r->listed_ns;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	error = fake_admit(s);
	r->size = (g_ascii_strtoull((name ? name + 1 : r->base.path) + 1, NULL, 10) + 1) * 1000;
	r->mtime_known = true;
	r->mtime_ns = 7000000000;
	return error;
}

static void fake_run(struct pool_job *job)
{
	struct fake_job *j = (struct fake_job *)job;
	struct fake_source *s = j->source;
	g_autoptr(GError) error = NULL;

	if (j->kind == FAKE_READ)
		error = fake_read(s, (struct source_read *)j->request);
	else if (j->kind == FAKE_LIST)
		error = fake_list(s, (struct source_list *)j->request);
	else
		error = fake_stat(s, (struct source_stat *)j->request);
	j->request->done(j->request, error);
	pthread_mutex_lock(&s->lock);
	s->under_way--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	g_free(j);
}

static void fake_submit(struct source *base, struct source_request *request, int kind)
{
	struct fake_source *s = (struct fake_source *)base;
	struct fake_job *j = g_new0(struct fake_job, 1);

	j->source = s;
	j->request = request;
	j->kind = kind;
	j->job.run = fake_run;
	pthread_mutex_lock(&s->lock);
	g_assert_false(s->closing);
	s->under_way++;
	pthread_mutex_unlock(&s->lock);
	pool_submit(s->threads, &j->job);
}

static void fake_op_list(struct source *s, struct source_list *r)
{
	fake_submit(s, &r->base, FAKE_LIST);
}

static void fake_op_stat(struct source *s, struct source_stat *r)
{
	fake_submit(s, &r->base, FAKE_STAT);
}

static void fake_op_read(struct source *s, struct source_read *r)
{
	fake_submit(s, &r->base, FAKE_READ);
}

static void fake_op_close(struct source *base)
{
	struct fake_source *s = (struct fake_source *)base;

	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pool_free(s->threads);
	g_assert_cmpuint(s->under_way, ==, 0);
	g_hash_table_unref(s->files);
	g_hash_table_unref(s->directories);
	g_array_unref(s->reads);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	g_free(s);
}

static char *fake_describe(struct source *s, const char *path)
{
	return g_strconcat("fake:", path, NULL);
}

static const struct source_ops fake_ops = {
        .name = "fake",
        .list = fake_op_list,
        .stat = fake_op_stat,
        .read = fake_op_read,
        .close = fake_op_close,
        .describe = fake_describe,
};

struct fake_source *fake_source_new(unsigned threads)
{
	struct fake_source *s = g_new0(struct fake_source, 1);

	s->base.ops = &fake_ops;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->threads = pool_new("fake", threads);
	s->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	s->directories = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	s->reads = g_array_new(FALSE, TRUE, sizeof(struct fake_read));
	s->fail = -1;
	return s;
}
