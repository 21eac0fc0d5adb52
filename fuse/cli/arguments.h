/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The arguments of `lacunafs mount`. */
#pragma once
#include "fuse/base/settings.h"

/* argv after the verb. NULL: one line in `error` (FETCH_USAGE; LOCAL_ERROR: the source does not
 * exist). */
struct settings *settings_parse(int argc, char **argv, GError **error);
void settings_free(struct settings *s);
