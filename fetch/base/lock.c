/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/base/lock.h"
#include <stdio.h>
#include <stdlib.h>

void rwlock_make(struct rwlock *l)
{
	pthread_rwlockattr_t attributes;
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

void condition_init(struct condition *c)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&c->condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

#ifdef LOCKS_CHECKED
#define HELD_MOST 16

struct held {
	const struct lock_id *id; /* borrowed */
	const char *file;
	int line;
};

static _Thread_local struct held held[HELD_MOST];
static _Thread_local int held_count;

static _Noreturn void held_abort(const char *what, const struct lock_id *id, const char *file,
                                 int line)
{
	fprintf(stderr, "locks: %s:%d: %s: %s\n", file, line, what, id->name);
	for (int n = held_count; n-- > 0;)
		fprintf(stderr, "locks: %s:%d: holds %s\n", held[n].file, held[n].line,
		        held[n].id->name);
	abort();
}

void lock_wanted(const struct lock_id *id, const char *file, int line)
{
	for (int n = 0; n < held_count; n++)
		if (held[n].id->rank >= id->rank)
			held_abort("wrong order", id, file, line);
}

void lock_wanted_again(const struct lock_id *id, const char *file, int line)
{
	for (int n = 0; n < held_count; n++)
		if (held[n].id->rank >= id->rank && held[n].id != id)
			held_abort("wrong order", id, file, line);
}

void lock_taken(const struct lock_id *id, const char *file, int line)
{
	if (held_count == HELD_MOST)
		held_abort("one lock too many", id, file, line);
	held[held_count++] = (struct held){id, file, line};
}

/* Its place in `held`. */
static int held_find(const struct lock_id *id, const char *file, int line)
{
	for (int n = held_count; n-- > 0;)
		if (held[n].id == id)
			return n;
	held_abort("not held", id, file, line);
}

void lock_needed(const struct lock_id *id, const char *file, int line)
{
	held_find(id, file, line);
}

void lock_left(const struct lock_id *id, const char *file, int line)
{
	for (int n = held_find(id, file, line) + 1; n < held_count; n++)
		held[n - 1] = held[n];
	held_count--;
}

void lock_waiting(const struct lock_id *id, const char *file, int line)
{
	if (held_count != 1 || held[0].id != id)
		held_abort("waits with another lock", id, file, line);
}

void lock_waiting_above(const struct lock_id *id, const char *file, int line)
{
	if (held_count == 0 || held[held_count - 1].id != id)
		held_abort("waits, but not for the last lock", id, file, line);
}
#else
_Static_assert(sizeof(struct mutex) == sizeof(pthread_mutex_t), "no cost");
_Static_assert(sizeof(struct rwlock) == sizeof(pthread_rwlock_t), "no cost");
#endif
