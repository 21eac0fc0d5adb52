/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/index/index_source.h"
#include <string.h>
#include <sys/stat.h>
#include "fetch/source/index/index_source_private.h"
#include "fetch/source/index/pack_read.h"
#include "fetch/source/index/shelf.h"

#define PIN "#sha256:"
/* Listings that are revalidated one after the other share a head that is at most as old */
#define RECENT_NS INT64_C(1000000000)

enum kind { KIND_LIST, KIND_STAT, KIND_READ };

/* A request on its way. */
struct question {
	struct pool_job job; /* first */
	struct index_source *source;
	struct source_request *request;
	enum kind kind;
	struct edition *edition; /* of the job; lives as long as the source */
	struct source_stat stat; /* KIND_STAT: of the inner source */
	struct index_node node;  /* and what the index says */
};

size_t index_source_pin(const char *url, struct digest *pin)
{
	const char *at = g_strrstr(url, PIN);
	if (at == NULL || strlen(at) != strlen(PIN) + 2 * DIGEST_SIZE ||
	    !digest_parse(at + strlen(PIN), pin))
		return 0;
	return (size_t)(at - url);
}

/* ---- answers ---- */

static void question_end(struct question *q, const GError *error)
{
	struct index_source *s = q->source;
	struct source_request *request = q->request;
	g_free(q);
	request->done(request, error);
	mutex_lock(&s->lock);
	if (--s->busy == 0)
		condition_broadcast(&s->idle);
	mutex_unlock(&s->lock);
}

/* Only the origin knows whether it still has the bytes; the index knows which they are. */
static void stat_done(struct source_request *req, const GError *error)
{
	struct question *q = (struct question *)((char *)req - offsetof(struct question, stat));
	struct source_stat *outer = (struct source_stat *)q->request;
	g_autoptr(GError) wrong = NULL;
	if (error == NULL && q->stat.size != q->node.size)
		g_set_error(&wrong, FETCH_ERROR, FETCH_CHANGED,
		            "/%s: the index has %" G_GUINT64_FORMAT
		            " bytes, the source %" G_GUINT64_FORMAT,
		            q->request->path, q->node.size, q->stat.size);
	if (error == NULL && wrong == NULL &&
	    edition_version(q->edition, &q->node, &outer->version, &wrong)) {
		outer->size = q->node.size;
		outer->mtime_ns = q->node.mtime_ns;
		outer->mtime_known = true;
	}
	question_end(q, error != NULL ? error : wrong);
}

static void pack_ended(void *user, const GError *error)
{
	question_end(user, error);
}

static bool stat_ask(struct question *q, GError **error)
{
	if (pack_path_is(q->request->path))
		return pack_stat(q->edition, q->source->inner, (struct source_stat *)q->request,
		                 pack_ended, q, error);
	if (!index_find(q->edition->index, q->request->path, &q->node, error))
		return false;
	if (!S_ISREG(q->node.mode)) {
		g_set_error(error, FETCH_ERROR,
		            S_ISDIR(q->node.mode) ? FETCH_DIRECTORY : FETCH_MISSING,
		            "/%s: not a file in the index", q->request->path);
		return false;
	}
	q->stat = (struct source_stat){.base = {.path = q->request->path, .done = stat_done},
	                               .listed = q->node.size};
	source_stat(q->source->inner, &q->stat);
	return true;
}

/* What passes through; under the contract of the caller's own call. */
static void pass(struct index_source *s, struct source_request *request, enum kind kind)
{
	if (kind == KIND_LIST)
		source_pass_list(s->inner, (struct source_list *)request);
	else if (kind == KIND_STAT)
		source_pass_stat(s->inner, (struct source_stat *)request);
	else
		source_pass_read(s->inner, (struct source_read *)request);
}

/* The inner source answers. */
static void question_pass(struct question *q)
{
	struct index_source *s = q->source;
	if (q->edition != NULL && q->edition->verifies)
		((struct source_read *)q->request)->proof = &q->edition->proof;
	pass(s, q->request, q->kind);
	g_free(q);
	mutex_lock(&s->lock);
	if (--s->busy == 0)
		condition_broadcast(&s->idle);
	mutex_unlock(&s->lock);
}

/* A pack of an older version may be read to its end. */
static struct edition *edition_with(struct index_source *s, struct edition *current,
                                    const char *path, struct pack_range *range, GError **error)
{
	bool found = false;
	if (!pack_range_of(current, path, &found, range, error))
		return NULL;
	if (found || !pack_path_is(path))
		return found ? current : NULL;
	mutex_lock(&s->lock);
	g_autoptr(GPtrArray) editions = g_ptr_array_copy(s->editions, NULL, NULL);
	mutex_unlock(&s->lock);
	for (guint n = editions->len; n > 0; n--)
		if (pack_range_of(editions->pdata[n - 1], path, &found, range, NULL) && found)
			return editions->pdata[n - 1];
	g_set_error(error, FETCH_ERROR, FETCH_MISSING, "/%s: the index has no such pack", path);
	return NULL;
}

static void read_ask(struct question *q)
{
	struct index_source *s = q->source;
	struct source_read *read = (struct source_read *)q->request;
	struct pack_range range;
	g_autoptr(GError) error = NULL;
	struct edition *e = edition_with(s, q->edition, read->base.path, &range, &error);
	if (e != NULL)
		pack_read(e, s->inner, &range, read, pack_ended, q);
	else if (error != NULL)
		question_end(q, error);
	else
		question_pass(q);
}

static void question_run(struct pool_job *job)
{
	struct question *q = (struct question *)job;
	g_autoptr(GError) error = NULL;
	if (q->kind == KIND_READ) {
		read_ask(q);
		return;
	}
	if (q->kind == KIND_LIST)
		edition_list(q->edition, (struct source_list *)q->request, &error);
	else if (stat_ask(q, &error))
		return;
	question_end(q, error);
}

/* Answers from `edition`; NULL: the inner source does. `q` is counted in busy. */
static void question_answer(struct question *q, struct edition *edition)
{
	q->edition = edition;
	bool asks = edition != NULL &&
	            (q->kind != KIND_READ || index_tail(edition->index)->object_count > 0);
	if (!asks) {
		question_pass(q);
		return;
	}
	q->job.run = question_run;
	pool_submit(q->source->pool, &q->job);
}

/* ---- the head ---- */

/* Is the request one that a newer head must answer? */
static bool wants_head_locked(const struct index_source *s, const struct question *q)
        REQUIRES(s->lock)
{
	const struct source_list *list = (const struct source_list *)q->request;
	if (s->state == INDEX_UNKNOWN)
		return true;
	if (s->state == INDEX_PLAIN || s->pinned || q->kind != KIND_LIST || list->previous == NULL)
		return false;
	int64_t age = clock_realtime() - s->asked_ns;
	return s->asked_ns <= listing_checked(list->previous) || age < 0 || age > RECENT_NS;
}

void index_fetched(struct index_source *s, struct edition *edition, bool plain, const GError *error)
{
	GQueue waiting = G_QUEUE_INIT;
	mutex_lock(&s->lock);
	if (error == NULL)
		s->asked_ns = s->fetch.began_ns;
	struct edition *before = edition != NULL ? s->current : NULL;
	if (edition != NULL) {
		g_ptr_array_add(s->editions, edition);
		s->current = edition;
		s->serial = edition->head.serial;
		s->state = INDEX_USED;
	} else if (plain) {
		s->state = INDEX_PLAIN;
	}
	enum index_state state = s->state;
	struct edition *current = s->current;
	for (struct question *q; (q = g_queue_pop_head(&s->waiting)) != NULL;)
		g_queue_push_tail(&waiting, q);
	s->fetching = false;
	mutex_unlock(&s->lock);
	if (before != NULL)
		index_retire(before->index);
	if (edition != NULL) {
		g_autofree char *root = digest_text(&edition->head.root);
		g_message("the tree is published: version %" G_GUINT64_FORMAT ", sha256:%s",
		          edition->head.serial, root);
	}
	for (struct question *q; (q = g_queue_pop_head(&waiting)) != NULL;) {
		struct source_list *list = (struct source_list *)q->request;
		/* a listing that is of another version is replaced, whether or not this one is the
		 * newest */
		bool revalidates = q->kind == KIND_LIST && list->previous != NULL &&
		                   current != NULL &&
		                   edition_listed(current, listing_validator(list->previous));
		if (error != NULL && (state == INDEX_UNKNOWN || revalidates))
			question_end(q, error);
		else
			question_answer(q, current);
	}
	mutex_lock(&s->lock);
	if (--s->busy == 0)
		condition_broadcast(&s->idle);
	mutex_unlock(&s->lock);
}

static void ask(struct source *source, struct source_request *request, enum kind kind)
{
	struct index_source *s = (struct index_source *)source;
	struct question *q = g_new0(struct question, 1);
	q->source = s;
	q->request = request;
	q->kind = kind;
	mutex_lock(&s->lock);
	bool waits = wants_head_locked(s, q), fetch = waits && !s->fetching;
	struct edition *current = s->current;
	s->busy += 1 + fetch;
	if (waits)
		g_queue_push_tail(&s->waiting, q);
	s->fetching |= fetch;
	mutex_unlock(&s->lock);
	if (!waits)
		question_answer(q, current);
	else if (fetch)
		index_fetch(s);
}

static void index_source_list(struct source *s, struct source_list *req)
{
	ask(s, &req->base, KIND_LIST);
}

static void index_source_stat(struct source *s, struct source_stat *req)
{
	ask(s, &req->base, KIND_STAT);
}

static void index_source_read(struct source *s, struct source_read *req)
{
	ask(s, &req->base, KIND_READ);
}

/* ---- life ---- */

static void index_source_stop(struct source *s)
{
	source_stop(((struct index_source *)s)->inner);
}

/* Requests that wait here end with those of the inner source, which must outlive them. */
static void index_source_close(struct source *source)
{
	struct index_source *s = (struct index_source *)source;
	source_stop(s->inner);
	mutex_lock(&s->lock);
	while (s->busy > 0)
		condition_wait(&s->idle, &s->lock);
	mutex_unlock(&s->lock);
	source_close(s->inner);
	pool_free(s->pool);
	g_ptr_array_free(s->editions, TRUE);
	condition_destroy(&s->idle);
	mutex_destroy(&s->lock);
	g_free(s->folder);
	g_free(s);
}

static char *index_source_describe(struct source *s, const char *path)
{
	return source_describe(((struct index_source *)s)->inner, path);
}

static const struct source_ops index_ops = {
        .name = "index",
        .list = index_source_list,
        .stat = index_source_stat,
        .read = index_source_read,
        .stop = index_source_stop,
        .close = index_source_close,
        .describe = index_source_describe,
        .listed = index_source_listed,
        .lister = index_source_lister,
        .top = index_source_top,
        .published = index_source_published,
        .packed = index_source_packed,
};

static bool kept_fits(const struct index_source *s, const struct head *head, struct digest *key)
{
	g_autoptr(GError) error = NULL;
	if (s->pinned && !digest_equal(&head->root, &s->pin))
		return false;
	if (index_head_verify(s, head, key, &error))
		return true;
	g_message("the kept index is not used: %s", error->message);
	return false;
}

static void kept_take(struct index_source *s)
{
	struct head head;
	struct digest key = {0};
	struct index *index;
	if (!shelf_load(s->folder, &head, &index))
		return;
	if (!kept_fits(s, &head, &key)) {
		index_unref(index);
		return;
	}
	s->current = edition_new(index, &head, &key, &s->options);
	s->serial = head.serial;
	g_ptr_array_add(s->editions, s->current);
	s->state = INDEX_USED;
}

static void edition_drop(void *edition)
{
	edition_free(edition);
}

struct source *index_source_new(struct source *inner, const struct source_options *options,
                                const struct digest *pin)
{
	struct index_source *s = g_new0(struct index_source, 1);
	s->base.ops = &index_ops;
	s->base.xattrs = true;
	s->base.lists = inner; /* whose failures count */
	s->inner = inner;
	s->options = *options;
	s->folder = g_strdup(options->index_folder);
	s->fetch.fd = -1;
	s->pinned = pin != NULL;
	if (pin != NULL)
		s->pin = *pin;
	s->editions = g_ptr_array_new_with_free_func(edition_drop);
	g_queue_init(&s->waiting);
	mutex_init(&s->lock, RANK_INDEX);
	condition_init(&s->idle);
	kept_take(s);
	s->pool = pool_new("index", 2);
	return &s->base;
}
