/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/pages/parsing.h"
#include <errno.h>
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"

#define THREADS 2
#define SLICE (64u << 10)
#define QUEUE_MAX (1u << 20)
#define SMALL (UINT64_C(1) << 20)

struct parsing_pool {
	struct pool *threads;
	struct mutex lock;
	uint64_t memory, taken; /* of `memory`; under lock */
	GQueue large;   /* of struct parsing: have taken some, the first first; under lock */
	GQueue waiters; /* of struct parsing: want more; under lock */
};

struct parsing {
	struct pool_job job;
	struct parsing_pool *pool;
	const struct parsing_ops *ops;
	void *user;
	struct index_parser *parser; /* the job's */
	uint64_t taken;              /* of the pool's memory; under the pool's lock */

	struct mutex lock;
	GQueue queue;  /* of GBytes; under lock, as all that follows */
	size_t offset; /* into the first */
	size_t queued; /* bytes, without those parsed */
	bool running;  /* the job is queued, runs, or waits for memory */
	bool full, ended;
	GError *error; /* the first */
};

static void parsing_run(struct pool_job *job);

struct parsing_pool *parsing_pool_new(uint64_t memory)
{
	struct parsing_pool *pool = g_new0(struct parsing_pool, 1);
	pool->threads = pool_new("index", THREADS);
	pool->memory = memory;
	mutex_init(&pool->lock, RANK_PARSING_POOL);
	g_queue_init(&pool->large);
	g_queue_init(&pool->waiters);
	return pool;
}

void parsing_pool_free(struct parsing_pool *pool)
{
	if (pool == NULL)
		return;
	pool_free(pool->threads);
	g_assert(pool->taken == 0 && pool->waiters.length == 0);
	mutex_destroy(&pool->lock);
	g_free(pool);
}

static void waiters_wake_locked(struct parsing_pool *pool) REQUIRES(pool->lock)
{
	for (struct parsing *p; (p = g_queue_pop_head(&pool->waiters));)
		pool_submit(pool->threads, &p->job);
}

static void memory_give(struct parsing *p)
{
	struct parsing_pool *pool = p->pool;
	mutex_lock(&pool->lock);
	if (p->taken > 0)
		g_queue_remove(&pool->large, p);
	pool->taken -= p->taken;
	p->taken = 0;
	waiters_wake_locked(pool);
	mutex_unlock(&pool->lock);
}

enum memory { MEMORY_GOT, MEMORY_WAITS, MEMORY_NONE };

/* Half is for all pages; the first page of those that hold memory may take the rest, too, and never
 * waits: so one always continues, frees its memory, and lets the next be first. */
static enum memory memory_take(struct parsing *p, uint64_t need)
{
	struct parsing_pool *pool = p->pool;
	enum memory result = MEMORY_GOT;
	if (need <= SMALL)
		return MEMORY_GOT;
	mutex_lock(&pool->lock);
	bool first = pool->large.head == NULL || pool->large.head->data == p;
	uint64_t limit = first ? pool->memory : pool->memory / 2;
	uint64_t left = limit > pool->taken ? limit - pool->taken : 0;
	uint64_t more = need > p->taken ? need - p->taken : 0;
	if (more > 0 && more + need / 4 <= left)
		more += need / 4; /* spares a call for every slice */
	if (more > left) {
		result = first ? MEMORY_NONE : MEMORY_WAITS;
		if (!first)
			g_queue_push_tail(&pool->waiters, p);
	} else if (more > 0) {
		if (p->taken == 0)
			g_queue_push_tail(&pool->large, p);
		pool->taken += more;
		p->taken += more;
	}
	mutex_unlock(&pool->lock);
	return result;
}

struct parsing *parsing_new(struct parsing_pool *pool, struct index_parser *parser,
                            const struct parsing_ops *ops, void *user)
{
	struct parsing *p = g_new0(struct parsing, 1);
	p->job.run = parsing_run;
	p->pool = pool;
	p->ops = ops;
	p->user = user;
	p->parser = parser;
	mutex_init(&p->lock, RANK_PARSING);
	g_queue_init(&p->queue);
	return p;
}

static void run_locked(struct parsing *p) REQUIRES(p->lock)
{
	if (p->running)
		return;
	p->running = true;
	pool_submit(p->pool->threads, &p->job);
}

enum parsing_fed parsing_feed(struct parsing *p, const char *data, size_t length, GError **error)
{
	enum parsing_fed result = PARSING_WANTS;
	mutex_lock(&p->lock);
	if (p->error != NULL) {
		g_propagate_error(error, g_error_copy(p->error));
		result = PARSING_FAILED;
	} else {
		g_queue_push_tail(&p->queue, g_bytes_new(data, length));
		p->queued += length;
		p->full = p->queued >= QUEUE_MAX;
		run_locked(p);
		result = p->full ? PARSING_FULL : PARSING_WANTS;
	}
	mutex_unlock(&p->lock);
	return result;
}

void parsing_end(struct parsing *p, const GError *error)
{
	struct parsing_pool *pool = p->pool;
	mutex_lock(&p->lock);
	p->ended = true;
	p->full = false;
	if (p->error == NULL && error != NULL)
		p->error = g_error_copy(error);
	run_locked(p);
	mutex_unlock(&p->lock);
	/* a failed page does not wait for memory; `p` may be freed, and is only compared */
	if (error == NULL)
		return;
	mutex_lock(&pool->lock);
	if (g_queue_remove(&pool->waiters, p))
		pool_submit(pool->threads, &p->job);
	mutex_unlock(&pool->lock);
}

/* The next bytes, of a piece that only the job removes; NULL: none. */
static const char *slice_next(struct parsing *p, size_t *length)
{
	const char *data = NULL;
	mutex_lock(&p->lock);
	GBytes *first = p->error == NULL ? g_queue_peek_head(&p->queue) : NULL;
	if (first != NULL) {
		gsize size = 0;
		data = (const char *)g_bytes_get_data(first, &size) + p->offset;
		*length = MIN(size - p->offset, SLICE);
	}
	mutex_unlock(&p->lock);
	return data;
}

static void queue_drop(struct parsing *p)
{
	g_queue_clear_full(&p->queue, (GDestroyNotify)g_bytes_unref);
	p->offset = p->queued = 0;
}

/* `length` bytes are parsed, or the page has failed. */
static void slice_done(struct parsing *p, size_t length, GError *wrong)
{
	mutex_lock(&p->lock);
	if (wrong != NULL && p->error == NULL)
		p->error = g_steal_pointer(&wrong);
	GBytes *first = g_queue_peek_head(&p->queue);
	if (p->error != NULL) {
		queue_drop(p);
	} else if (first != NULL && length > 0) {
		p->queued -= length;
		p->offset += length;
		if (p->offset == g_bytes_get_size(first)) {
			g_bytes_unref(g_queue_pop_head(&p->queue));
			p->offset = 0;
		}
	}
	/* after a failure, too: the transfer ends with the next piece */
	if (p->full && !p->ended && p->queued <= QUEUE_MAX / 2) {
		p->full = false;
		p->ops->more(p->user);
	}
	mutex_unlock(&p->lock);
	g_clear_error(&wrong);
}

static void parsing_finish(struct parsing *p)
{
	g_autoptr(GError) error = g_steal_pointer(&p->error);
	p->ops->done(p->user, p->parser, error);
	memory_give(p);
	queue_drop(p); /* no other thread uses it any more */
	mutex_destroy(&p->lock);
	g_free(p);
}

/* Reserves the parser's memory, and at the end (`last`) also the listing's. */
static enum memory memory_ensure(struct parsing *p, bool last)
{
	enum memory got = memory_take(p, index_parser_memory(p->parser, last));
	if (got == MEMORY_NONE)
		slice_done(p, 0,
		           g_error_new(LOCAL_ERROR, ENOMEM,
		                       "the index page needs more memory than the "
		                       "%" G_GUINT64_FORMAT " MiB that -o index_memory allows it",
		                       p->pool->memory >> 20));
	return got;
}

static void parsing_run(struct pool_job *job)
{
	struct parsing *p = (struct parsing *)job;
	size_t length = 0;
	const char *data = slice_next(p, &length);
	bool ended;
	enum memory got = data != NULL ? memory_ensure(p, false) : MEMORY_NONE;
	if (got == MEMORY_WAITS)
		return;
	if (got == MEMORY_GOT) {
		GError *wrong = NULL;
		index_parser_feed(p->parser, data, length, &wrong);
		slice_done(p, length, wrong);
	} else if (data == NULL) {
		slice_done(p, 0, NULL);
	}
	mutex_lock(&p->lock);
	bool more = p->queue.length > 0;
	ended = p->ended && !more;
	bool whole = ended && p->error == NULL;
	p->running = more || ended;
	if (more)
		pool_submit(p->pool->threads, &p->job);
	mutex_unlock(&p->lock);
	if (!ended)
		return;
	if (whole && memory_ensure(p, true) == MEMORY_WAITS)
		return; /* comes back here, with nothing to parse */
	parsing_finish(p);
}
