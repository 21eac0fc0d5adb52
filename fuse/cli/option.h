/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The -o options of a mount: ours are checked and kept in the settings, the rest is for
 * libfuse, which refuses what it does not know.
 * Source: mount(8), fuse_opt.h: comma-separated, "\," is a comma within a value
 */
#pragma once
#include "fuse/base/settings.h"

/* Every field that has an option gets its default. */
void option_defaults(struct settings *s);
/* `list`: what follows one -o. On failure (FETCH_USAGE, one line) some options of the list
 * may have been taken. */
bool option_parse(struct settings *s, const char *list, GError **error);
