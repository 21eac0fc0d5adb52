/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source for tests: a formula gives its files' bytes, and it misbehaves on request.
 * Locking: knobs are set while no request is under way, or under `lock`
 */
#pragma once
#include <pthread.h>
#include "fetch/base/pool.h"
#include "fetch/source/base/source.h"

struct fake_read { /* one request that arrived */
	char path[64];
	uint64_t offset, length;
};

struct fake_file {
	uint64_t size;
	unsigned version;
	unsigned label; /* of the version, beside its bytes */
};

struct fake_directory {
	unsigned entries, version;
	bool exact;
};

struct fake_source {
	struct source base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct pool *threads;
	GHashTable *files;       /* path → struct fake_file, owned */
	GHashTable *directories; /* path → struct fake_directory, owned */
	GArray *reads;           /* of struct fake_read, as they arrived */
	unsigned lists, stats, under_way;
	int64_t listed_ns;    /* of the last stat request */
	unsigned empty_lists; /* as many listings come out empty */
	bool closing;

	bool gate; /* closed: no request is answered */
	bool ignore_range;
	uint64_t supplied;  /* the read from here passes the gate and delivers the whole file, with
	                     * the next version's bytes, as supplied data; 0: none */
	bool places;        /* puts bytes into `fd` itself */
	uint64_t overtaken; /* the piece with this byte is of the next version, which is seen
	                     * once it has been placed; 0 = none */
	size_t piece;       /* bytes per data(), odd sizes welcome; 0 = 16 KiB */
	unsigned delay_us;  /* before each piece */
	uint64_t cut_after; /* bytes, then FETCH_PROTOCOL; 0 = never */
	bool stall;         /* closed: data stops after `stall_after` bytes */
	uint64_t stall_after;
	int fail;            /* enum fetch_error of every request, -1 = none */
	unsigned fail_count; /* as many requests, then `fail` is -1; 0 = all */
	int fail_one_in;     /* one read in n is cut at random; 0 = none */
	unsigned random;
};

struct fake_source *fake_source_new(unsigned threads);
/* struct source is freed by source_close() */
void fake_file_add(struct fake_source *s, const char *path, uint64_t size);
/* Another version: other bytes, another version number. */
void fake_file_change(struct fake_source *s, const char *path);
/* Another version number, as by another server; the bytes stay. */
void fake_file_relabel(struct fake_source *s, const char *path);
uint64_t fake_file_size(struct fake_source *s, const char *path);
/* The bytes of version `version` (0 first) of `path`. */
void fake_bytes(const char *path, unsigned version, uint64_t offset, void *buffer, size_t length);

/* A directory with the files f0000…, of (n + 1) × 1000 bytes each; `exact`: its listing has exact
 * sizes. A second call replaces the listing. */
void fake_directory_set(struct fake_source *s, const char *path, unsigned entries, bool exact);
void fake_directory_remove(struct fake_source *s, const char *path);

void fake_gate(struct fake_source *s, bool closed);
void fake_stall(struct fake_source *s, bool closed, uint64_t after);
void fake_fail(struct fake_source *s, int error, unsigned count);
unsigned fake_reads(struct fake_source *s);
unsigned fake_lists(struct fake_source *s);
unsigned fake_stats(struct fake_source *s);
/* The n-th read that arrived. */
struct fake_read fake_read_at(struct fake_source *s, unsigned n);
/* Until as many reads have arrived. */
void fake_wait_reads(struct fake_source *s, unsigned count);
void fake_wait_idle(struct fake_source *s);
