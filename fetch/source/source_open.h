/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Opens the source of a URL. */
#pragma once
#include "fetch/source/base/source.h"
#include "fetch/source/wrap/mirrors.h"

/* `url`: a path, dir:PATH, http://…, https://…, each perhaps with "#sha256:ROOT", the root of its
 * index; anything else is FETCH_USAGE. Credentials are removed from the URL. No network access. The
 * result is already wrapped in retries, and, with options->index_folder, in the index of its tree.
 */
struct source *source_open(const char *url, const struct source_options *options, GError **error);
/* The same for several copies of one tree, `urls` in the order of preference. *mirrors: for
 * status, borrowed until the source is closed; NULL: there is only one. Credentials that the
 * options hold go to the first one, and to others of the same server, unless mirror_credentials. */
struct source *source_open_mirrors(const char *const *urls, const struct source_options *options,
                                   struct mirrors **mirrors, GError **error);
/* The canonical form of a URL, without credentials: the store's identity. `away`: a directory may
 * be missing now. */
char *source_canonical(const char *url, bool away, GError **error);
