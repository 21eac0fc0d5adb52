/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The contract of source.h, asserted on both sides of every call. */
#include "fetch/source/base/source.h"
#include "fetch/base/pool.h"
#include <string.h>
#include <xxhash.h>

static bool path_is_legal(const char *path)
{
	for (;;) {
		size_t length = strcspn(path, "/");
		if (length == 0)
			return *path == '\0';
		if (length <= 2 && strspn(path, ".") >= length)
			return false;
		if (path[length] == '\0')
			return true;
		path += length + 1;
		if (*path == '\0')
			return false;
	}
}

/* The request that this thread is submitting: none of its callbacks may come yet. */
static _Thread_local const struct source_request *submitting;

static const struct source_request *guard_enter(struct source *s, struct source_request *req,
                                                void (*done)(struct source_request *,
                                                             const GError *))
{
	const struct source_request *outer = submitting;
	g_assert(req->done != NULL && path_is_legal(req->path));
	req->started_ns = clock_now();
	__atomic_store_n(&req->attempt, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&req->retry_ns, 0, __ATOMIC_RELAXED);
	req->guard_source = s;
	req->elsewhere = false;
	req->guard_done = req->done;
	req->done = done;
	submitting = req;
	return outer;
}

static void guard_done(struct source_request *req, const GError *error)
{
	g_assert(submitting != req);
	g_assert(error == NULL || error->domain == FETCH_ERROR || error->domain == LOCAL_ERROR ||
	         error->domain == DENIAL_ERROR);
	req->elsewhere |= g_error_matches(error, FETCH_ERROR, FETCH_CHANGED);
	if (error != NULL && error->domain == FETCH_ERROR && req->guard_source != NULL)
		__atomic_add_fetch(&req->guard_source->failures[error->code], 1, __ATOMIC_RELAXED);
	req->done = req->guard_done;
	req->done(req, error);
}

static void list_done(struct source_request *base, const GError *error)
{
	struct source_list *req = (struct source_list *)base;
	g_assert((error == NULL) == (req->listing != NULL));
	guard_done(base, error);
}

void source_list(struct source *s, struct source_list *req)
{
	req->listing = NULL;
	const struct source_request *outer = guard_enter(s, &req->base, list_done);
	s->ops->list(s, req);
	submitting = outer;
}

const struct source *source_lister(const struct source *s)
{
	for (const struct source *next = s; next != NULL;) {
		s = next;
		next = s->ops->lister != NULL ? s->ops->lister(s) : s->lists;
		if (next == s)
			return s;
	}
	return s;
}

bool source_packed(const struct source *s, const char *path, uint64_t size,
                   struct source_packed *out)
{
	s = source_lister(s);
	return s->ops->packed != NULL && s->ops->packed(s, path, size, out);
}

struct listing *source_top(const struct source *s)
{
	s = source_lister(s);
	return s->ops->top != NULL ? s->ops->top(s) : NULL;
}

bool source_published(const struct source *s, struct source_published *out)
{
	s = source_lister(s);
	return s->ops->published != NULL && s->ops->published(s, out);
}

bool source_shape_is(const struct source *s, const char *validator)
{
	const char *line = validator;
	s = source_lister(s);
	if (s->ops->listed != NULL)
		return s->ops->listed(s, validator);
	while (s->shape != 0 && line != NULL && *line != 'O') {
		line = strchr(line, '\n');
		line += line != NULL;
	}
	return s->shape == 0 || (line != NULL && g_ascii_strtoull(line + 1, NULL, 16) == s->shape);
}

bool source_probed_absent(const GError *error)
{
	static const enum fetch_error codes[] = {FETCH_MISSING, FETCH_DENIED, FETCH_CHANGED,
	                                         FETCH_PROTOCOL, FETCH_DIRECTORY};
	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		if (g_error_matches(error, FETCH_ERROR, (gint)codes[i]))
			return true;
	return false;
}

source_version source_version_dated(const char *modified, uint64_t size)
{
	uint64_t parts[3] = {0, XXH3_64bits(modified, strlen(modified)), size};
	source_version version = XXH3_64bits(parts, sizeof(parts));
	return version != 0 ? version : 1;
}

void source_stat(struct source *s, struct source_stat *req)
{
	const struct source_request *outer = guard_enter(s, &req->base, guard_done);
	s->ops->stat(s, req);
	submitting = outer;
}

static int read_begin(struct source_read *req)
{
	g_assert(submitting != &req->base && !req->guard.begun);
	g_assert(req->offset <= req->guard.offset && req->length <= req->size - req->offset);
	g_assert(req->offset + req->length >= req->guard.end);
	g_assert(req->pinned == 0 || req->version == req->pinned);
	req->guard.begun = true;
	req->guard.next = req->offset;
	int result = req->guard.begin(req);
	g_assert(result <= 0);
	req->guard.refused = result != 0;
	return result;
}

static int read_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	g_assert(req->guard.begun && !req->guard.refused);
	g_assert(offset == req->guard.next && length > 0);
	g_assert(length <= req->offset + req->length - offset);
	req->guard.next = offset + length;
	int result = req->guard.data(req, offset, buffer, length);
	g_assert(result <= 0);
	req->guard.refused = result != 0;
	return result;
}

static void read_done(struct source_request *base, const GError *error)
{
	struct source_read *req = (struct source_read *)base;
	bool whole = req->guard.begun && !req->guard.refused &&
	             req->guard.next == req->offset + req->length;
	g_assert(error != NULL || whole);
	if (req->probe && source_probed_absent(error))
		base->guard_source = NULL; /* no failure to count */
	req->begin = req->guard.begin;
	req->data = req->guard.data;
	guard_done(base, error);
}

void source_read(struct source *s, struct source_read *req)
{
	g_assert(req->begin != NULL && req->data != NULL);
	g_assert(req->length > 0 && req->offset < req->size);
	req->guard.begin = req->begin;
	req->guard.data = req->data;
	req->guard.offset = req->offset;
	req->guard.end = req->offset + MIN(req->length, req->size - req->offset);
	req->guard.begun = req->guard.refused = false;
	req->begin = read_begin;
	req->data = read_data;
	const struct source_request *outer = guard_enter(s, &req->base, read_done);
	s->ops->read(s, req);
	submitting = outer;
}

/* The checks are those of the outer call, whose callbacks are in place. */
void source_pass_list(struct source *inner, struct source_list *req)
{
	g_assert(req->base.done == list_done);
	inner->ops->list(inner, req);
}

void source_pass_stat(struct source *inner, struct source_stat *req)
{
	g_assert(req->base.done == guard_done);
	inner->ops->stat(inner, req);
}

void source_pass_read(struct source *inner, struct source_read *req)
{
	g_assert(req->base.done == read_done && !req->guard.begun);
	inner->ops->read(inner, req);
}

uint64_t source_failures(const struct source *s, enum fetch_error code)
{
	while (s->lists != NULL)
		s = s->lists;
	return __atomic_load_n(&s->failures[code], __ATOMIC_RELAXED);
}

void source_stop(struct source *s)
{
	if (s->ops->stop != NULL)
		s->ops->stop(s);
}

void source_close(struct source *s)
{
	s->ops->close(s);
}

char *source_describe(struct source *s, const char *path)
{
	g_assert(path_is_legal(path));
	char *out = s->ops->describe(s, path);
	g_assert(out != NULL);
	return out;
}
