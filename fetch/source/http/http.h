/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A web server's tree as a source (see source.h).
 *   list   GET of the directory's URL, conditional, its index page parsed as it comes
 *   stat   HEAD; a server that refuses HEAD is asked for one byte
 *   read   GET with Range, straight from the library's buffer into data()
 * Trust:  an answer is used only if status, range, length, coding and version match
 *         the request; data past the announced range is never delivered
 * Errors: FETCH_ERROR; a message begins with the URL, without its secrets
 */
#pragma once
#include "fetch/source/base/source.h"

/* `options`: with every default filled in. */
struct source *http_source_open(const char *url, const struct source_options *options,
                                GError **error);
char *http_source_canonical(const char *url, GError **error);
