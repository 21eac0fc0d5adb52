/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One version of a published tree, as a source uses it: an open index, the listings made of it,
 * and the proof of its files' bytes.
 * Owns:    the index
 * Locking: immutable, but for a small table of versions under a lock
 * Errors:  as index.h
 */
#pragma once
#include "fetch/base/lock.h"
#include "fetch/index/head.h"
#include "fetch/index/index.h"
#include "fetch/source/base/source.h"

#define EDITION_VERSIONS 256u

struct edition {
	struct source_proof proof; /* first; `version` and `check` find the edition from it */
	struct index *index;       /* owned */
	struct head head;
	struct digest key; /* that signed it, if options->keys are given */
	uint64_t shape;    /* of its listings: source.h */
	bool own;          /* all entries belong to: */
	uint32_t uid, gid;
	bool verifies; /* reads carry the proof */
	struct mutex lock;
	struct {
		uint64_t nid;
		source_version version;
	} versions[EDITION_VERSIONS]; /* under lock; nid 0: none */
};

/* Takes `index`. `key`: NULL if none was asked for. */
struct edition *edition_new(struct index *index, const struct head *head, const struct digest *key,
                            const struct source_options *options);
void edition_free(struct edition *e);
/* The version of a file's content. */
bool edition_version(struct edition *e, const struct index_node *node, source_version *out,
                     GError **error);

/* Is the listing with this validator one of this edition? */
bool edition_listed(const struct edition *e, const char *validator);

/* edition_list.c: the listing of req->base.path; req->previous as it is, if it is one of this
 * edition. */
bool edition_list(struct edition *e, struct source_list *req, GError **error);
/* The root itself: source_top(). NULL: it is damaged. */
struct listing *edition_top(struct edition *e);
