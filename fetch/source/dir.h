/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Another directory as a source (see source.h). */
#pragma once
#include "fetch/source/source.h"

/* `options`: with every default filled in. */
struct source *dir_source_open(const char *path, const struct source_options *options,
			       GError **error);
