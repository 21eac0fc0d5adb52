/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by check.c (the walk), check_state.c (files of state/), check_file.c (a file and its
 * record), check_map.c (its map), check_bytes.c (its data).
 */
#pragma once
#include "fetch/check/check.h"
#include "fetch/store/object/object_private.h"

#define PAUSE_US 50000 /* between two looks at an object of a live store */

struct check {
	struct store *store; /* borrowed */
	const struct check_options *options;
	const struct check_ops *ops;
	void *user;
	struct check_totals totals;
	uint32_t epoch; /* the store's; 0: unknown */
	bool elsewhere; /* a copy: inode numbers differ until it is mounted */
	bool stopped;
	GString *path;      /* of the object, in STORE */
	GPtrArray *pending; /* struct check_finding, owned: of the object, not reported yet */
	uint64_t asked;     /* totals.bytes at the last goes_on() */
};

/* Notes a finding about c->path; `remedy` as in struct check_finding. */
void check_found(struct check *c, bool repaired, const char *remedy, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
void check_unread(struct check *c, int err);
/* Reports the findings about an object; or, `drop`, forgets them. */
void check_settle(struct check *c, bool drop);
bool check_goes_on(struct check *c);
/* --repair was given and no daemon has the store open. */
bool check_repairs(const struct check *c);

/* check_state.c */
void check_state(struct check *c);

/* check_file.c: an object of the tree. */
void check_object(struct check *c, const struct place *p, const struct stat *st);

/* A file with a record. */
struct check_file {
	const struct place *place;
	const struct record *record;
	int fd, map_fd; /* -1: none */
	uint64_t limit; /* from here on all is local */
	GArray *bad; /* uint64_t chunks: remote ones that do not match, or whose slot is damaged */
	uint64_t doubtful; /* slots that may be those of local chunks */
};

/* check_map.c: opens and checks the map. false: no usable map. */
bool check_map(struct check *c, struct check_file *f);
/* check_bytes.c: compares with the hashes. */
void check_bytes(struct check *c, struct check_file *f);
/* The hash of the bytes of chunk `k`, as in a slot. -ENODATA: the file is too short. */
int check_digest(struct check *c, const struct check_file *f, uint64_t k, uint64_t *hash);
/* Makes the bad chunks absent. -errno. */
int check_drop(struct check_file *f);
