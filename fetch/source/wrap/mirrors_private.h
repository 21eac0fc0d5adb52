/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by mirrors.c (the source), mirror.c (the state of one) and failover.c (one request). */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/wrap/attempt.h"
#include "fetch/source/wrap/detour.h"
#include "fetch/source/wrap/health.h"
#include "fetch/source/wrap/mirrors.h"

struct mirror {
	struct source *inner; /* owned, as name */
	char *name;
	/* under mirrors.lock: */
	struct health health;
	int64_t limited_ns; /* its server accepts no request before */
	int64_t told_ns;    /* when the log was last told of a detour */
	enum fetch_error code;
	char *cause; /* owned; the last failure; NULL: none */
	int64_t cause_ns;
	uint64_t requests, errors;
};

struct mirrors {
	struct source base;
	struct mirrors_options options; /* defaults filled in */
	struct pool *pool;              /* for requests that end without being sent */
	uint32_t makers; /* atomic: set of mirrors of which a listing may be in use */
	struct mutex lock;
	struct condition idle;
	/* under lock: */
	struct detours detours;
	unsigned busy; /* requests and tests that have not ended */
	bool stopped;
	unsigned count; /* fixed */
	struct mirror mirrors[];
};

/* mirror.c. The log lines of a change are written by mirror_tell(), without the lock. */
enum mirror_change { MIRROR_SAME, MIRROR_FAILED, MIRROR_BACK, MIRROR_DETOUR };
struct mirror_news {
	enum mirror_change change;
	unsigned index;
	int64_t was_ns; /* MIRROR_BACK: how long it had failed */
};
/* Is this a failure that another mirror may not have? */
bool mirror_error_elsewhere(const GError *error);
/* Records the end of a request. `retry_ns`: of the request. `tested`: see health_answered(). */
struct mirror_news mirror_answered_locked(struct mirrors *m, unsigned index, const GError *error,
                                          int64_t began_ns, int64_t retry_ns, bool tested)
        REQUIRES(m->lock);
void mirror_tell(struct mirrors *m, struct mirror_news news, const GError *error);
/* Tests the failed mirrors whose back-off has passed. */
void mirror_test_due(struct mirrors *m);
/* The first healthy one; `count`: none. */
unsigned mirror_first_locked(const struct mirrors *m) REQUIRES(m->lock);

/* mirrors.c. A listing of this mirror is used from now on. */
void mirrors_note_maker(struct mirrors *m, unsigned index);

/* failover.c */
void failover_list(struct source *s, struct source_list *req);
void failover_stat(struct source *s, struct source_stat *req);
void failover_read(struct source *s, struct source_read *req);
/* A request or a test has ended. */
void mirrors_leave(struct mirrors *m);
