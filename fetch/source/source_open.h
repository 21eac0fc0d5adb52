/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which source a URL is of. */
#pragma once
#include "fetch/source/base/source.h"

/* `url`: a path, dir:PATH, http://…, https://…; anything else is FETCH_USAGE.
 * Credentials in the URL are taken out of it. No network is touched. The result
 * is already wrapped in retries. */
struct source *source_open(const char *url, const struct source_options *options, GError **error);
/* The same URL in one canonical form without credentials: the store's identity. */
char *source_canonical(const char *url, GError **error);
