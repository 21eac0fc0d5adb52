/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Mirrors that fail as told, below the source that chooses between them. */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/wrap/mirrors.h"

#define SIZE 1000u
#define MS INT64_C(1000000)
#define GOOD (-1)

/* A mirror: answers each request as its members say. */
struct fake {
	struct source base;
	struct alarm_clock *clock;
	int code;       /* enum fetch_error; GOOD */
	uint64_t bytes; /* of a read that fails, delivered before */
	source_version version;
	unsigned wait_ms;          /* as Retry-After */
	unsigned asked;            /* atomic */
	enum source_demand demand; /* of the last request; atomic */
};

struct call {
	struct alarm alarm; /* first */
	struct fake *fake;
	struct source_request *request;
	void (*answer)(struct fake *f, struct source_request *r, GError **error);
};

struct world {
	struct fake fakes[3];
	struct mirrors *mirrors;
	struct source *source;
};

/* A request and its end. */
struct answer {
	union {
		struct source_request base;
		struct source_list list;
		struct source_stat stat;
		struct source_read read;
	} r; /* first */
	struct mutex lock;
	struct condition over;
	bool done;
	GError *error;
	char got[SIZE];
	uint64_t next;
	unsigned begins;
};

void world_begin(struct world *w, unsigned count, unsigned retry_ms, unsigned takeover_ms);
void world_end(struct world *w);
/* How often mirror `i` was asked since the last time. */
unsigned asked(struct world *w, unsigned i);
void answer_init(struct answer *a, const char *path);
int read_file(struct world *w, struct answer *a, const char *path, source_version pinned);
int list_directory(struct world *w, struct answer *a, struct listing *previous);
bool made_by(struct world *w, struct listing *l, unsigned mirror);
bool has_failed(struct world *w, unsigned i);
void failed_is_told(void);
void detour_is_told(void);
void log_nothing(const char *domain, GLogLevelFlags level, const char *text, void *user);
