/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store's fixed settings: STORE/state/settings. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct store_settings {
	const char *source;   /* canonical, without credentials */
	unsigned chunk_shift; /* of new files: log2 of bytes; 0 = 16 (64 KiB) */
	bool end_epoch;       /* tests: treat the last session's epoch as dead */
};

/* Loads `state`/settings. ENOENT in `error`: no such file. */
bool store_settings_load(int state, const char *store, struct store_settings *s, GError **error);
/* Parses the text of such a file. */
bool store_settings_parse(const char *store, const char *text, size_t length,
                          struct store_settings *s, GError **error);
bool store_settings_save(int state, const char *store, const struct store_settings *s,
                         GError **error);
