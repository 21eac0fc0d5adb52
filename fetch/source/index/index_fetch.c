/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Head and index, from the inner source to the shelf. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "fetch/source/index/index_source_private.h"
#include "fetch/source/index/shelf.h"

static struct index_source *source_of(void *part, size_t offset)
{
	return (struct index_source *)((char *)part - offset);
}

#define FETCH_OF(part, member)                                                                     \
	source_of(part, offsetof(struct index_source, fetch) + offsetof(struct fetch, member))

static void fetch_end(struct index_source *s, struct edition *edition, bool plain,
                      const GError *error)
{
	struct fetch *f = &s->fetch;
	if (f->fd >= 0) {
		close(f->fd);
		shelf_abandon(s->folder);
	}
	f->fd = -1;
	g_clear_pointer(&f->index, index_unref);
	g_clear_pointer(&f->path, g_free);
	index_fetched(s, edition, plain, error);
}

static void fetch_fail(struct index_source *s, GError *error)
{
	fetch_end(s, NULL, false, error);
	g_error_free(error);
}

/* ---- the index ---- */

static int index_begin(struct source_read *req)
{
	return req->offset == 0 && req->length == req->size ? 0 : -EPROTO;
}

/* It is in the file already: index_put(). */
static int index_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	return 0;
}

static struct index_source *proof_source(const struct source_proof *p)
{
	return FETCH_OF((void *)(uintptr_t)p, proof);
}

static source_version index_root_version(const struct source_proof *p, const char *path,
                                         uint64_t size, GError **error)
{
	source_version version;
	memcpy(&version, &proof_source(p)->fetch.head.root, sizeof(version));
	return version != 0 ? version : 1;
}

static int index_put(const struct source_proof *p, uint64_t offset, const void *data, size_t length)
{
	struct fetch *f = &proof_source(p)->fetch;
	while (length > 0) {
		ssize_t n = pwrite(f->fd, data, length, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data = (const char *)data + n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	f->held = offset;
	return 0;
}

static uint64_t index_held(const struct source_proof *p)
{
	return proof_source(p)->fetch.held;
}

/* Nothing of an index is used before all of it is what its name says; another mirror may have it.
 */
static bool index_whole(const struct source_proof *p, const char *name, GError **error)
{
	struct fetch *f = &proof_source(p)->fetch;
	struct index *x = index_open(fcntl(f->fd, F_DUPFD_CLOEXEC, 3), name, &f->head.root, error);
	if (x != NULL && index_verify(x, error)) {
		f->index = x;
		return true;
	}
	index_unref(x);
	f->held = 0;
	return false;
}

static void index_take(struct pool_job *job)
{
	struct index_source *s = FETCH_OF(job, job);
	struct fetch *f = &s->fetch;
	GError *error = NULL;
	if (!shelf_commit(s->folder, f->fd, &f->head, &error)) {
		fetch_fail(s, error);
		return;
	}
	close(f->fd);
	f->fd = -1;
	struct index *x = g_steal_pointer(&f->index);
	fetch_end(s, edition_new(x, &f->head, &f->key, &s->options), false, NULL);
}

static void index_done(struct source_request *req, const GError *error)
{
	struct index_source *s = FETCH_OF(req, read);
	if (error != NULL) {
		g_autofree char *name = source_describe(s->inner, s->fetch.path);
		GError *own = g_error_copy(error);
		if (strstr(own->message, s->fetch.path) == NULL)
			g_prefix_error(&own, "%s: ", name);
		/* a head without its index is no missing directory */
		if (g_error_matches(own, FETCH_ERROR, FETCH_MISSING))
			own->code = FETCH_PROTOCOL;
		fetch_fail(s, own);
		return;
	}
	s->fetch.job.run = index_take;
	pool_submit(s->pool, &s->fetch.job);
}

/* Fetches the index of fetch.head. */
static void index_ask(struct index_source *s)
{
	struct fetch *f = &s->fetch;
	GError *error = NULL;
	f->fd = shelf_begin(s->folder, &error);
	if (f->fd < 0) {
		fetch_fail(s, error);
		return;
	}
	f->held = 0;
	f->proof = (struct source_proof){
	        .version = index_root_version,
	        .put = index_put,
	        .held = index_held,
	        .whole = index_whole,
	};
	f->read = (struct source_read){
	        .base = {.path = f->path, .done = index_done},
	        .length = f->head.size,
	        .size = f->head.size,
	        .proof = &f->proof,
	        .begin = index_begin,
	        .data = index_data,
	};
	source_read(s->inner, &f->read);
}

static void path_set(struct fetch *f)
{
	g_autofree char *name = head_index_name(&f->head);
	g_free(f->path);
	f->path = g_strconcat(INDEX_FOLDER "/", name, NULL);
}

/* ---- the head ---- */

static int head_begin(struct source_read *req)
{
	return req->offset == 0 && req->length == HEAD_SIZE ? 0 : -EPROTO;
}

static int head_data(struct source_read *req, uint64_t offset, const void *buffer, size_t length)
{
	struct index_source *s = FETCH_OF(req, read);
	memcpy(s->fetch.text + offset, buffer, length);
	return 0;
}

static GError *index_lost(struct index_source *s)
{
	g_autofree char *name = source_describe(s->inner, INDEX_HEAD);
	return g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
	                   "%s: the tree has no index any more; the kept one stays in use", name);
}

static GError *index_demanded(struct index_source *s)
{
	g_autofree char *name = source_describe(s->inner, INDEX_HEAD);
	return g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
	                   "%s: the tree is not published, but -o verify_key asks for a signature",
	                   name);
}

bool index_head_verify(const struct index_source *s, const struct head *head, struct digest *key,
                       GError **error)
{
	return s->options.keys == NULL || head_verify(head, s->options.keys, key, error);
}

/* An older head than that of the edition in use, or an unsigned one: false. */
static bool head_fits(struct index_source *s, const struct edition *current, uint64_t serial,
                      GError **error)
{
	struct fetch *f = &s->fetch;
	if (!index_head_verify(s, &f->head, &f->key, error))
		return false;
	if (current == NULL || digest_equal(&current->head.root, &f->head.root) ||
	    f->head.serial > serial || s->options.allow_rollback)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
	            "an older version than the one in use (serial %" G_GUINT64_FORMAT
	            " after %" G_GUINT64_FORMAT "); -o allow_rollback takes it",
	            f->head.serial, serial);
	return false;
}

/* The version in use, perhaps published again since: what came between must not come back. */
static void head_renew(struct index_source *s, uint64_t serial)
{
	struct fetch *f = &s->fetch;
	GError *error = NULL;
	if (f->head.serial > serial && !shelf_renew(s->folder, &f->head, &error)) {
		fetch_fail(s, error);
		return;
	}
	mutex_lock(&s->lock);
	s->serial = MAX(serial, f->head.serial);
	mutex_unlock(&s->lock);
	fetch_end(s, NULL, false, NULL);
}

static void head_take(struct pool_job *job)
{
	struct index_source *s = FETCH_OF(job, job);
	struct fetch *f = &s->fetch;
	GError *error = NULL;
	mutex_lock(&s->lock);
	const struct edition *current = s->current; /* lives until the source is closed */
	uint64_t serial = s->serial;
	mutex_unlock(&s->lock);
	if (!head_fits(s, current, serial, &error)) {
		g_autofree char *name =
		        source_describe(s->inner, f->path != NULL ? f->path : INDEX_HEAD);
		g_prefix_error(&error, "%s: ", name);
		fetch_fail(s, error);
	} else if (current != NULL && digest_equal(&current->head.root, &f->head.root)) {
		head_renew(s, serial);
	} else {
		path_set(f);
		index_ask(s);
	}
}

static void head_done(struct source_request *req, const GError *error)
{
	struct index_source *s = FETCH_OF(req, read);
	struct fetch *f = &s->fetch;
	mutex_lock(&s->lock);
	bool used = s->current != NULL;
	mutex_unlock(&s->lock);
	bool absent =
	        error != NULL ? source_probed_absent(error) : !head_is(f->text, sizeof(f->text));
	g_autoptr(GError) wrong = NULL;
	if (absent && used)
		wrong = index_lost(s);
	else if (absent && s->options.keys != NULL)
		wrong = index_demanded(s);
	else if (error == NULL && !absent &&
	         !head_parse(f->text, sizeof(f->text), &f->head, &wrong))
		g_prefix_error(&wrong, INDEX_HEAD ": ");
	if (wrong == NULL && error == NULL && !absent) {
		f->job.run = head_take;
		pool_submit(s->pool, &f->job);
		return;
	}
	bool plain = absent && wrong == NULL;
	if (g_error_matches(error, FETCH_ERROR, FETCH_SERVER)) {
		wrong = g_error_copy(error);
		g_prefix_error(&wrong, "asking for an index (-o index=no does not): ");
	}
	fetch_end(s, NULL, plain, plain ? NULL : wrong != NULL ? wrong : error);
}

static void head_ask(struct index_source *s, const char *path,
                     void (*done)(struct source_request *, const GError *))
{
	struct fetch *f = &s->fetch;
	f->read = (struct source_read){
	        .base = {.path = (char *)path, .done = done},
	        .length = HEAD_SIZE,
	        .size = HEAD_SIZE,
	        .probe = true,
	        .begin = head_begin,
	        .data = head_data,
	};
	source_read(s->inner, &f->read);
}

/* ---- a pinned index ---- */

static void size_done(struct source_request *req, const GError *error)
{
	struct index_source *s = FETCH_OF(req, stat);
	struct fetch *f = &s->fetch;
	f->head.size = error == NULL ? f->stat.size : 0;
	if (error == NULL && f->head.size >= sizeof(struct index_tail) &&
	    f->head.size <= INDEX_SIZE_MAX) {
		index_ask(s);
		return;
	}
	g_autofree char *name = source_describe(s->inner, f->path);
	if (error == NULL || g_error_matches(error, FETCH_ERROR, FETCH_MISSING))
		fetch_fail(s, g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
		                          "%s: the source has no such index, which the mount is "
		                          "pinned to",
		                          name));
	else
		fetch_fail(s, g_error_copy(error));
}

/* The copy of a signed version's head. */
static void copy_done(struct source_request *req, const GError *error)
{
	struct index_source *s = FETCH_OF(req, read);
	struct fetch *f = &s->fetch;
	g_autofree char *name = source_describe(s->inner, f->path);
	GError *wrong = error != NULL ? g_error_copy(error) : NULL;
	if (source_probed_absent(error)) {
		g_clear_error(&wrong);
		g_set_error(&wrong, FETCH_ERROR, FETCH_PROTOCOL,
		            "%s: the source has no such version, or it is not signed, which -o "
		            "verify_key asks for",
		            name);
	} else if (error == NULL && head_parse(f->text, sizeof(f->text), &f->head, &wrong) &&
	           !digest_equal(&f->head.root, &s->pin)) {
		g_set_error(&wrong, FETCH_ERROR, FETCH_PROTOCOL, "%s: is of another version", name);
	} else if (error == NULL && wrong != NULL) {
		g_prefix_error(&wrong, "%s: ", name);
	}
	if (wrong != NULL) {
		fetch_fail(s, wrong);
		return;
	}
	f->job.run = head_take;
	pool_submit(s->pool, &f->job);
}

static void pinned_ask(struct index_source *s)
{
	struct fetch *f = &s->fetch;
	f->head = (struct head){.root = s->pin};
	if (s->options.keys != NULL) {
		g_autofree char *copy = head_copy_name(&f->head);
		f->path = g_strconcat(INDEX_FOLDER "/", copy, NULL);
		head_ask(s, f->path, copy_done);
		return;
	}
	path_set(f);
	f->stat = (struct source_stat){.base = {.path = f->path, .done = size_done}};
	source_stat(s->inner, &f->stat);
}

void index_fetch(struct index_source *s)
{
	s->fetch.began_ns = clock_realtime();
	if (s->pinned)
		pinned_ask(s);
	else
		head_ask(s, INDEX_HEAD, head_done);
}
