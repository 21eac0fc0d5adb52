/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store's settings: STORE/state/settings.
 * A store belongs to one tree, of which there may be several copies: the source and the mirrors
 * that it was last mounted with. Any of them can be mounted on it; another source can if one of its
 * mirrors is the store's source. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct store_settings {
	const char *source;         /* canonical, without credentials; NULL: any */
	const char *const *mirrors; /* as source, NULL-terminated; NULL: none are given */
	unsigned chunk_shift;       /* of new files: log2 of bytes; 0 = 16 (64 KiB) */
	bool end_epoch;             /* tests: treat the last session's epoch as dead */
	bool changed;               /* out: the file names other mirrors than were given */
	int pid;                    /* is recorded as the holder; 0: this process */
	/* The locked file of a store that this process takes over from one that died, borrowed;
	 * else 0. Files in use that have no name stay. */
	int lock;
};

/* Is there such a file, or its copy? */
bool store_settings_exist(int state);

enum settings_state {
	SETTINGS_INTACT,
	SETTINGS_NO_COPY,   /* intact, but the copy is damaged or missing */
	SETTINGS_FROM_COPY, /* damaged or missing; the copy is intact */
	SETTINGS_LOST,
};

/* `error`: the damage, if the file itself is damaged; any source is accepted. */
enum settings_state store_settings_look(int state, const char *store, GError **error);
/* Writes the damaged one of the two from the other. -errno. */
int store_settings_mend(int state);
/* Loads `state`/settings, or its copy, from which it is then written again. ENOENT in `error`: no
 * such file. */
bool store_settings_load(int state, const char *store, struct store_settings *s, GError **error);
/* Parses the text of such a file. */
bool store_settings_parse(const char *store, const char *text, size_t length,
                          struct store_settings *s, GError **error);
bool store_settings_save(int state, const char *store, const struct store_settings *s,
                         GError **error);
