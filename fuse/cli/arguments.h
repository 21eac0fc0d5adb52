/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The arguments of `lacunafs mount`. */
#pragma once
#include "fuse/base/settings.h"

/* argv after the verb. NULL: one line in `error` (FETCH_USAGE; LOCAL_ERROR: the source does not
 * exist). */
struct settings *settings_parse(int argc, char **argv, GError **error);
/* From the words of other settings. */
struct settings *settings_from_words(const char *words, size_t size, GError **error);
void settings_free(struct settings *s);
