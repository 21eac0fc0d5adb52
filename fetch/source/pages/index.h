/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The index page of a web server, HTML or JSON, becomes a listing.
 * Shape:   fed as it arrives and parsed as a stream: memory beside the listing is
 *          constant. A page has at most options.index_bytes and index_names
 * Reads:   nginx autoindex (HTML, JSON), Apache mod_autoindex (list, pre, table),
 *          lighttpd mod_dirlisting, Caddy file_server browse (HTML, JSON), Python's
 *          http.server; and similar pages. A row is a link to a direct child of
 *          the page's URL and the text after it, whichever server wrote it.
 * Trust:   none. A link that is not a direct child is no entry; illegal names are
 *          skipped, counted and reported once. No entities,
 *          no network. A page without its end is an error, and so is a page all of whose
 *          rows lead elsewhere: neither is an empty directory. Nor is a page without
 *          a list, or an unterminated document: every server above writes both
 * Units:   bytes; ns since 1970. Times without a zone are of options.index_timezone.
 * Locking: one parser, one thread at a time
 * Errors:  FETCH_PROTOCOL (not an index, malformed, too large), FETCH_SERVER (cut)
 */
#pragma once
#include "fetch/source/base/source.h"

struct index_parser;

/* `content_type`: of the answer, NULL where there is none: then the first byte decides.
 * `base_url`: of the page, after redirects; strings are copied. `options`: borrowed. */
struct index_parser *index_parser_new(const char *content_type, const char *base_url,
                                      const struct source_options *options);
/* The body ends with the connection, without a length: the page's own end is required. */
void index_parser_undelimited(struct index_parser *p);
bool index_parser_feed(struct index_parser *p, const char *data, size_t length, GError **error);
/* Bytes that the entries so far take; `finish`: plus those that index_parser_finish() will take. */
uint64_t index_parser_memory(const struct index_parser *p, bool finish);
/* Frees the parser, also on error. `remote_path`: of the directory in the tree, "" = root:
 * an entry's ino is XXH3-64 of "remote_path/name". The others: as listing_builder_finish(); the
 * validator gets a line "L<hex>" if an entry was left out. */
struct listing *index_parser_finish(struct index_parser *p, const char *validator,
                                    int64_t checked_ns, const struct listing *previous,
                                    const char *remote_path, GError **error);
void index_parser_free(struct index_parser *p);
