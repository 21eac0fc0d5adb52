/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A real store in a directory of its own, and the engine between it and a fake source. */
#pragma once
#include "fetch/fill/fill.h"
#include "fetch/list/lister.h"
#include "tests/unit/fake_source.h"

struct engine_options {
	unsigned wait_ms, chunk_shift, threads, ttl_ms; /* 0 = 10 s, 16, 2, 300 s */
	bool each_time;                                 /* a time to live of 0 */
	uint64_t prefetch_bytes;
};

struct engine {
	struct engine_options options;
	char *path;
	struct store *store;
	struct fake_source *fake;
	struct pool *disk;
	struct alarm_clock *clock;
	struct fill *fill;
	struct lister *lister;
	unsigned changed, completed, released, relisted; /* atomic */
	void (*release)(void *user, struct content *c);  /* NULL; as fill_options.released */
	void *user;
};

struct engine *engine_new(const struct engine_options *options);
void engine_free(struct engine *e);
/* Ends everything as a mount does, and starts again: in a new epoch, or the same one. */
void engine_stop(struct engine *e);
void engine_start(struct engine *e, bool end_epoch);
/* A file of the fake source, and its content. */
struct content *engine_content(struct engine *e, const char *path);

struct waiter {
	struct fill_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned calls;
	int error;
};
void waiter_init(struct waiter *w);
/* The result of fill_want(). */
int waiter_want(struct waiter *w, struct content *c, uint64_t offset, uint64_t length,
                uint64_t ahead);
int waiter_wait(struct waiter *w); /* for the one call of `done`: its error */
unsigned waiter_calls(struct waiter *w);
/* Wants and waits: 0 or a positive errno. */
int content_read(struct content *c, uint64_t offset, uint64_t length, uint64_t ahead);
/* Fails the test unless the present data in [offset, +length) is of version `version`. */
void content_check(struct content *c, unsigned version, uint64_t offset, uint64_t length);
/* After g_test_init(): warnings are not fatal, since tests provoke errors. */
void engine_quiet(void);
