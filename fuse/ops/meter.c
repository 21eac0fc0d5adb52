/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/ops/meter.h"
#include <linux/fuse.h>
#include "fetch/base/pool.h"

enum { SETS = 256, WAYS = 4 };

/* A parked request. `req` NULL: a free place. */
struct flight {
	fuse_req_t req;
	struct meter_hand hand; /* before `req` is set, and fixed until it is taken */
};

/* The counters of one thread at a time, which alone writes them; others read. */
struct counts {
	struct counts *next; /* fixed once it is in the list */
	bool taken;          /* atomic: by a thread that has not ended */
	struct meter_op ops[METER_OPS];
	uint64_t errors[METER_ERRORS];
	uint64_t bytes_read, bytes_written;
};

struct meter {
	struct counts *all; /* atomic; owned: as many as threads counted at one time */
	struct flight flights[SETS][WAYS];
};

static __thread struct meter_hand hand;
static __thread struct counts *own; /* of the process's only meter */

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* The thread ends: the next one goes on with its counters. */
static void counts_leave(gpointer data)
{
	own = NULL;
	__atomic_store_n(&((struct counts *)data)->taken, false, __ATOMIC_RELEASE);
}

static GPrivate ending = G_PRIVATE_INIT(counts_leave);

static struct counts *counts_left(struct meter *m)
{
	struct counts *c = __atomic_load_n(&m->all, __ATOMIC_ACQUIRE);
	while (c && (__atomic_load_n(&c->taken, __ATOMIC_RELAXED) ||
	             __atomic_exchange_n(&c->taken, true, __ATOMIC_ACQUIRE)))
		c = c->next;
	return c;
}

static struct counts *counts_add(struct meter *m)
{
	struct counts *c = g_new0(struct counts, 1);
	c->taken = true;
	c->next = __atomic_load_n(&m->all, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&m->all, &c->next, c, false, __ATOMIC_RELEASE,
	                                    __ATOMIC_RELAXED))
		;
	return c;
}

static struct counts *counts_of(struct meter *m)
{
	if (own)
		return own;
	own = counts_left(m);
	if (!own)
		own = counts_add(m);
	g_private_set(&ending, own);
	return own;
}

static uint64_t value(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

struct meter *meter_new(void)
{
	return g_new0(struct meter, 1);
}

void meter_free(struct meter *m)
{
	g_private_set(&ending, NULL);
	for (struct counts *c = m ? m->all : NULL, *next; c; c = next) {
		next = c->next;
		g_free(c);
	}
	own = NULL;
	g_free(m);
}

void meter_begin(struct meter *m, unsigned opcode, int64_t now)
{
	hand = (struct meter_hand){.opcode = opcode < METER_OPS ? opcode : 0, .began_ns = now};
	add(&counts_of(m)->ops[hand.opcode].requests, 1);
}

struct meter_hand meter_switch(struct meter_hand to)
{
	struct meter_hand before = hand;
	hand = to;
	return before;
}

struct meter_hand meter_at_hand(void)
{
	return hand;
}

static struct flight *set_of(struct meter *m, fuse_req_t req)
{
	return m->flights[((uintptr_t)req * UINT64_C(0x9e3779b97f4a7c15)) >> 56];
}

/* Takes the place of `req`, if it has one. false: it has none. */
static bool take(struct meter *m, fuse_req_t req, struct meter_hand *out)
{
	struct flight *set = set_of(m, req);
	for (unsigned n = 0; n < WAYS; n++) {
		if (__atomic_load_n(&set[n].req, __ATOMIC_ACQUIRE) != req)
			continue;
		*out = set[n].hand;
		__atomic_store_n(&set[n].req, NULL, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

/* A free place is claimed by a value that is no request's. */
void meter_park(struct meter *m, fuse_req_t req)
{
	static const int claimed;
	struct flight *set = set_of(m, req);
	if (hand.began_ns == 0)
		return;
	for (unsigned n = 0; n < WAYS; n++) {
		fuse_req_t none = NULL;
		if (!__atomic_compare_exchange_n(&set[n].req, &none,
		                                 (fuse_req_t)(uintptr_t)&claimed, false,
		                                 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		set[n].hand = hand;
		__atomic_store_n(&set[n].req, req, __ATOMIC_RELEASE);
		break;
	}
	hand = (struct meter_hand){0};
}

/* The bucket of the smallest 4^k us that is not less. */
static unsigned bucket_of(uint64_t ns)
{
	uint64_t us = (ns + 999) / 1000;
	unsigned bits = us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(us - 1);
	return MIN(bits > 2 ? (bits - 1) / 2 : 0, METER_BUCKETS);
}

void meter_end_as(struct meter *m, struct meter_hand done, int error)
{
	int64_t took = clock_now() - done.began_ns;
	struct counts *counts = counts_of(m);
	struct meter_op *op = &counts->ops[done.opcode];
	if (error)
		add(&counts->errors[error > 0 && error < METER_ERRORS ? error : 0], 1);
	if (done.began_ns == 0)
		return; /* the table was full when it was parked */
	add(&op->ns, (uint64_t)MAX(took, 0));
	add(&op->buckets[bucket_of((uint64_t)MAX(took, 0))], 1);
}

void meter_end(struct meter *m, fuse_req_t req, int error, size_t bytes)
{
	struct meter_hand done = {0};
	if (!take(m, req, &done)) {
		done = hand;
		hand = (struct meter_hand){0};
	}
	meter_end_as(m, done, error);
	if (done.opcode == FUSE_READ)
		add(&counts_of(m)->bytes_read, bytes);
	else if (done.opcode == FUSE_WRITE)
		add(&counts_of(m)->bytes_written, bytes);
}

void meter_drop(struct meter *m, fuse_req_t req)
{
	struct meter_hand done;
	if (!take(m, req, &done))
		hand = (struct meter_hand){0};
}

const char *meter_name(unsigned opcode)
{
	static const char *const names[METER_OPS] = {
	        [0] = "other",
	        [FUSE_LOOKUP] = "lookup",
	        [FUSE_FORGET] = "forget",
	        [FUSE_GETATTR] = "getattr",
	        [FUSE_SETATTR] = "setattr",
	        [FUSE_READLINK] = "readlink",
	        [FUSE_SYMLINK] = "symlink",
	        [FUSE_MKNOD] = "mknod",
	        [FUSE_MKDIR] = "mkdir",
	        [FUSE_UNLINK] = "unlink",
	        [FUSE_RMDIR] = "rmdir",
	        [FUSE_RENAME] = "rename",
	        [FUSE_LINK] = "link",
	        [FUSE_OPEN] = "open",
	        [FUSE_READ] = "read",
	        [FUSE_WRITE] = "write",
	        [FUSE_STATFS] = "statfs",
	        [FUSE_RELEASE] = "release",
	        [FUSE_FSYNC] = "fsync",
	        [FUSE_SETXATTR] = "setxattr",
	        [FUSE_GETXATTR] = "getxattr",
	        [FUSE_LISTXATTR] = "listxattr",
	        [FUSE_REMOVEXATTR] = "removexattr",
	        [FUSE_FLUSH] = "flush",
	        [FUSE_INIT] = "init",
	        [FUSE_OPENDIR] = "opendir",
	        [FUSE_READDIR] = "readdir",
	        [FUSE_RELEASEDIR] = "releasedir",
	        [FUSE_FSYNCDIR] = "fsyncdir",
	        [FUSE_GETLK] = "getlk",
	        [FUSE_SETLK] = "setlk",
	        [FUSE_SETLKW] = "setlkw",
	        [FUSE_ACCESS] = "access",
	        [FUSE_CREATE] = "create",
	        [FUSE_INTERRUPT] = "interrupt",
	        [FUSE_BMAP] = "bmap",
	        [FUSE_DESTROY] = "destroy",
	        [FUSE_IOCTL] = "ioctl",
	        [FUSE_POLL] = "poll",
	        [FUSE_NOTIFY_REPLY] = "notify_reply",
	        [FUSE_BATCH_FORGET] = "batch_forget",
	        [FUSE_FALLOCATE] = "fallocate",
	        [FUSE_READDIRPLUS] = "readdirplus",
	        [FUSE_RENAME2] = "rename2",
	        [FUSE_LSEEK] = "lseek",
	        [FUSE_COPY_FILE_RANGE] = "copy_file_range",
	        [FUSE_SETUPMAPPING] = "setupmapping",
	        [FUSE_REMOVEMAPPING] = "removemapping",
	        [FUSE_SYNCFS] = "syncfs",
	        [FUSE_TMPFILE] = "tmpfile",
	        [52] = "statx", /* FUSE_STATX, younger than some headers */
	};

	return opcode < METER_OPS ? names[opcode] : NULL;
}

void meter_op(const struct meter *m, unsigned opcode, struct meter_op *out)
{
	*out = (struct meter_op){0};
	for (const struct counts *c = __atomic_load_n(&m->all, __ATOMIC_ACQUIRE); c; c = c->next) {
		out->requests += value(&c->ops[opcode].requests);
		out->ns += value(&c->ops[opcode].ns);
		for (unsigned n = 0; n <= METER_BUCKETS; n++)
			out->buckets[n] += value(&c->ops[opcode].buckets[n]);
	}
}

/* The sum of the member at `offset`. */
static uint64_t sum(const struct meter *m, size_t offset)
{
	uint64_t total = 0;
	for (const struct counts *c = __atomic_load_n(&m->all, __ATOMIC_ACQUIRE); c; c = c->next)
		total += value((const uint64_t *)(const void *)((const char *)c + offset));
	return total;
}

uint64_t meter_errors(const struct meter *m, unsigned error)
{
	return sum(m, offsetof(struct counts, errors) + error * sizeof(uint64_t));
}

uint64_t meter_bytes_read(const struct meter *m)
{
	return sum(m, offsetof(struct counts, bytes_read));
}

uint64_t meter_bytes_written(const struct meter *m)
{
	return sum(m, offsetof(struct counts, bytes_written));
}
