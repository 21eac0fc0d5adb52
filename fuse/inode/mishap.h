/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The last failures of files. A content has its own while it
 * exists; these serve a later `status` of a closed file.
 * Shape:   a ring of MISHAPS_MAX; one entry per file
 * Owns:    causes
 * Locking: its own mutex; any thread
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { MISHAPS_MAX = 256 };

struct mishap {
	uint64_t ino;
	int error;     /* positive errno */
	int64_t at_ns; /* CLOCK_REALTIME */
	char *cause;   /* owned; NULL: none given */
};

struct mishaps;
struct mishaps *mishaps_new(void);
void mishaps_free(struct mishaps *m);
/* Takes its cause; replaces an entry of the same file. */
void mishaps_note(struct mishaps *m, struct mishap one);
/* `out` owns a copy of the cause. */
bool mishaps_find(struct mishaps *m, uint64_t ino, struct mishap *out);
