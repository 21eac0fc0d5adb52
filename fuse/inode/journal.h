/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests that change names, in the area: what one was about to do, before its first effect. If
 * the worker dies before the answer, the kernel sends the request again, and it must not be done
 * twice:
 *
 *     written ──answered──▶ free
 *        │ the worker dies
 *        ▼ journal_recover(): has the store been changed?
 *     done: names in memory follow; sent again, the request is only answered
 *     not done: sent again, it begins anew; nothing of it remains but, perhaps, an object that a
 *               rename has set aside, which goes
 *
 * Other changes (data, attributes, sizes) can be repeated: their caller holds the inode's lock in
 * the kernel until the answer.
 * Shape:   a hash table by the number of the request, in the area; one entry a request
 * Locking: none: an entry is its request's. Any thread
 * Errors:  none: a request without room is not journalled
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct area;
struct server;

enum journal_kind {
	JOURNAL_MAKE = 1, /* node: unused */
	JOURNAL_LINK,
	JOURNAL_REMOVE,
	JOURNAL_RENAME,
	JOURNAL_SEAL,  /* seals were to be added */
	JOURNAL_XATTR, /* the attribute was to be made, and did not exist; or to go, and did */
};

struct journal_entry {
	uint32_t kind;
	uint32_t flags;       /* of a rename */
	uint64_t dir, newdir; /* node ids, as the next two */
	uint64_t node, over;  /* the file; what a rename replaces or exchanges, 0: nothing */
	uint64_t number;      /* departure.number */
	uint64_t ino;         /* of the object in the store; for a rename, a link */
	bool last;            /* departure.last */
	bool local;           /* the name was in the store */
	bool done;            /* by journal_recover() */
	bool awaited;         /* left by a worker before: not sent again yet */
	char name[256], newname[256];
};

/* Replaces what the request wrote before. */
void journal_write(struct area *a, uint64_t request, const struct journal_entry *e);
/* The entry of a request that a worker before this one had begun, or this one; NULL: none. */
struct journal_entry *journal_find(struct area *a, uint64_t request);
/* An earlier worker did all of it but answer. */
bool journal_is_done(struct area *a, uint64_t request);
void journal_end(struct area *a, uint64_t request);

/* Takeover, in this order: finishes in memory what the store has; notes a request that is sent
 * again; frees entries that were answered after all, once all that are sent again have come. */
void journal_recover(struct server *s);
void journal_sent_again(struct area *a, uint64_t request);
void journal_settle(struct area *a);
