/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The -o options of a mount: those of lacunafs are checked and stored in the settings, others are
 * passed to libfuse, which refuses unknown ones.
 * Source: mount(8), fuse_opt.h: comma-separated, "\," is a comma within a value
 */
#pragma once
#include "fuse/base/settings.h"

/* Every field that has an option gets its default. */
void option_defaults(struct settings *s);
/* `list`: the argument of one -o. On failure (FETCH_USAGE, one line) some options of the list
 * may have been stored. */
bool option_parse(struct settings *s, const char *list, GError **error);
