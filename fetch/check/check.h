/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A check of a whole store: every file of state/ and every object of tree/, against format.h, and
 * the bytes of cached chunks against their hashes.
 *
 * Live:    a store in use can be checked, not repaired; an object that looks damaged is examined
 *          again, since a write may be under way
 * Repair:  untrusted remote data is marked absent; metadata with a second copy is restored from it.
 *          Local data is never changed: the finding names a remedy
 * Order:   as in format.h: data that is dropped is recorded as absent, durably, before
 * Errors:  an object that could not be read is reported, and counted in `unread`
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

struct check_options {
	bool repair;
	bool bytes; /* read cached data, too */
	bool live;  /* a daemon has the store open */
};

struct check_finding {
	const char *path;   /* in STORE */
	const char *what;   /* the damage, or why it was not checked, in words */
	const char *remedy; /* NULL: repaired, or `--repair` does it */
	bool repaired;
	bool unread; /* no damage: it could not be checked */
};

struct check_totals {
	uint64_t objects, bytes; /* looked at; compared with a hash */
	uint64_t damaged, repaired, unread;
};

struct check_ops {
	void (*found)(void *user, const struct check_finding *finding);
	/* Called after each object and about every 16 MiB of cached data; false stops the check. */
	bool (*goes_on)(void *user, const struct check_totals *so_far);
};

/* false: stopped. */
bool check_store(struct store *s, const struct check_options *options, const struct check_ops *ops,
                 void *user, struct check_totals *out);

/* A store that no daemon has open, for check_store() alone: nothing of it is changed. EBUSY: it is
 * open. */
struct store *check_open(const char *path, GError **error);
void check_close(struct store *s);
