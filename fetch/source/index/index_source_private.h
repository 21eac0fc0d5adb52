/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by index_source.c (requests, life), index_tells.c and index_fetch.c (head and index). */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/index/edition.h"
#include "fetch/source/index/index_source.h"

enum index_state { INDEX_UNKNOWN, INDEX_PLAIN, INDEX_USED };

struct index_source {
	struct source base;
	struct source *inner; /* owned */
	struct source_options
	        options; /* what editions are made with; borrowed texts are not used */
	char *folder;    /* owned */
	bool pinned;
	struct digest pin;
	struct pool *pool;
	struct mutex lock;
	struct condition idle;
	/* under lock: */
	enum index_state state;
	struct edition *current; /* of `editions`; NULL unless INDEX_USED */
	GPtrArray *editions;     /* struct edition, owned */
	uint64_t serial;         /* the highest that was accepted for `current` */
	GQueue waiting;          /* of struct question, for the answer under way */
	int64_t asked_ns;        /* CLOCK_REALTIME; when the last head that came was asked for */
	unsigned busy;           /* jobs, and the fetch under way */
	bool fetching, closing;

	struct fetch { /* one at a time; of the thread that serves it */
		struct source_read read;
		struct source_proof proof; /* of the index */
		uint64_t held;             /* of it: bytes in `fd` */
		struct index *index;       /* owned; once it is proven */
		struct source_stat stat;   /* of a pinned index, whose size no head tells */
		struct pool_job job;
		char text[HEAD_SIZE];
		struct head head;
		struct digest key; /* that signed it; only with options.keys */
		char *path;        /* owned; of the index at the source */
		int fd;            /* owned; -1: none */
		int64_t began_ns;
	} fetch;
};

/* index_fetch.c: asks for the head, and for its index if that is another one. Ends with
 * index_fetched(). Only while `fetching`, which the caller has set. */
void index_fetch(struct index_source *s);
/* The key that signed a head; true without options.keys. */
bool index_head_verify(const struct index_source *s, const struct head *head, struct digest *key,
                       GError **error);
/* index_source.c: how it ended. `edition` (taken) NULL: no other than the current one, if `error`
 * is NULL, too; `plain`: the source has no index. */
void index_fetched(struct index_source *s, struct edition *edition, bool plain,
                   const GError *error);

/* index_tells.c: as in source_ops */
const struct source *index_source_lister(const struct source *s);
bool index_source_listed(const struct source *s, const char *validator);
struct listing *index_source_top(const struct source *s);
bool index_source_published(const struct source *source, struct source_published *out);
bool index_source_packed(const struct source *s, const char *path, uint64_t size,
                         struct source_packed *out);
