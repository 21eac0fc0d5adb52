/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Counts the kernel's requests, how long they took from their arrival to the reply, and how they
 * ended.
 * Shape:   the thread's current request is thread-local; a parked one is in a small table until its
 *          reply; if the table is full, its duration is lost, its count is not
 * Cost:    no lock: each thread has counters of its own (9 KiB), relaxed atomics; those of a thread
 *          that ended are the next one's
 * Units:   ns, CLOCK_MONOTONIC
 * Passthrough: the kernel answers reads and writes itself, and they are not counted
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "fuse/inode/server.h"

enum {
	METER_OPS = 64,     /* larger opcodes are counted together as 0 */
	METER_ERRORS = 134, /* positive errno; larger ones as 0 */
	METER_BUCKETS = 13, /* up to 4^1, 4^2, … 4^13 us (67 s); and one for the rest */
};

struct meter_op {
	uint64_t requests; /* all requests; those without a reply are counted here only */
	uint64_t ns;       /* all durations together */
	uint64_t buckets[METER_BUCKETS + 1];
};

struct meter *meter_new(void);
void meter_free(struct meter *m); /* after the end of all other threads that counted */

/* The thread's current request; zeroed: none. */
struct meter_hand {
	unsigned opcode;
	int64_t began_ns;
};
void meter_begin(struct meter *m, unsigned opcode, int64_t now);
struct meter_hand meter_switch(struct meter_hand to); /* the one before */
struct meter_hand meter_at_hand(void);
/* Any thread will answer the current request, as `req`. */
void meter_park(struct meter *m, fuse_req_t req);
/* `req` is about to be answered. `error`: positive errno; `bytes`: read or written by it. */
void meter_end(struct meter *m, fuse_req_t req, int error, size_t bytes);
/* `req` is freed without a reply and will be replayed. */
void meter_drop(struct meter *m, fuse_req_t req);
/* The reply to a request that libfuse does not know any more. */
void meter_end_as(struct meter *m, struct meter_hand hand, int error);

/* Snapshots: each thread's counter is read atomically, the set is not. */
const char *meter_name(unsigned opcode); /* NULL: no operation */
void meter_op(const struct meter *m, unsigned opcode, struct meter_op *out);
uint64_t meter_errors(const struct meter *m, unsigned error);
/* In the replies to READ, and accepted by those to WRITE. */
uint64_t meter_bytes_read(const struct meter *m);
uint64_t meter_bytes_written(const struct meter *m);
