/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Makes the packs of a planned tree: each object by one thread, which reads its files, hashes their
 * blocks, compresses its frames, and writes its rows of the index.
 * Memory: one object for each thread, 8 MiB at most
 * Errors: as reader.h
 */
#pragma once
#include "fetch/publish/objects.h"
#include "fetch/publish/plan.h"
#include "fetch/publish/reader.h"
#include "fetch/publish/reuse.h"

struct packs {
	const struct plan *plan;
	const struct index_tail *tail; /* where the tables are, in: */
	int fd;
	struct objects *objects;
	const struct reuse *reuse; /* NULL: none */
	uint64_t *bytes, *files,
	        *odd; /* atomic: done; of these, with other bytes than `reuse` says */
};

/* An object's first file. */
struct pack_job {
	const struct spill_directory *directory;
	const struct spill_entry *entry; /* NULL: the beginning, or the end */
	uint32_t object;
};

/* The next object after `job`, which begins as zeros. One thread at a time. */
bool pack_next(const struct packs *k, struct pack_job *job);

struct pack_maker;
struct pack_maker *pack_maker_new(const struct packs *k);
void pack_maker_free(struct pack_maker *m);
bool pack_make(struct pack_maker *m, struct reader *r, const struct pack_job *job, GError **error);
