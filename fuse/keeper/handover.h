/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a keeper hands over to another program (upgrade.h), which runs as `lacunafs --resume=FD`: FD
 * is a memory file of a `struct handover` and of the mount's words, each with its '\0'. Descriptors
 * keep their numbers. (An option, since an interpreter would take a word for its script.)
 * Versions: a program refuses a keeper of another version; a member is added at the end, with a
 *           version that readers of the one before it understand
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "fuse/keeper/keeping.h"

#define HANDOVER_VERSION 2
#define HANDOVER_OPTION "--resume="
#define HANDOVER_TRIES 50
#define HANDOVER_WORDS_MAX (UINT32_C(16) << 20)

enum handover_role { HANDOVER_WORKER = 1, HANDOVER_KEEPER };

struct handover {
	uint64_t magic;
	uint32_t version;
	uint32_t role; /* enum handover_role */
	uint32_t words_size;
	int32_t area;   /* descriptors, -1: none */
	int32_t socket; /* the role's end, to the keeper or to the worker */
	int32_t output; /* HANDOVER_WORKER: standard error until it takes over; what it said then */
	int32_t errors; /* HANDOVER_WORKER: standard error from then on */
	int32_t client; /* HANDOVER_KEEPER: waits for an answer */
	int32_t worker, guard; /* HANDOVER_KEEPER: pids; 0: none */
	int32_t stop;          /* HANDOVER_KEEPER: a signal for each worker; 0: none */
	int32_t fds[KEPT_MAX]; /* HANDOVER_KEEPER */
	uint32_t tries;        /* HANDOVER_KEEPER: by handover_again(), so far */
};

/* Runs `program` in the place of this one. Returns on failure only, with errno, and nothing has
 * changed. */
void handover_exec(const struct handover *h, const char *words, int program);
/* HANDOVER_KEEPER: this program, which cannot go on, starts once more: the mount would end with it,
 * and its address space is laid out anew each time. Returns after HANDOVER_TRIES, a second or
 * more, or on failure. */
void handover_again(const struct handover *h, const char *words);
/* false: `why`, static. *words: caller frees, with g_free(); it has words_size bytes, the last is
 * '\0'. All descriptors are closed by the next exec, and `fd` now. */
bool handover_read(int fd, struct handover *h, char **words, const char **why);
