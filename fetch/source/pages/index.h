/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The index page of a web server, HTML or JSON, becomes a listing.
 * Shape:   fed as it arrives and parsed as a stream: memory beside the listing is
 *          constant. A page has at most options.index_bytes and index_names
 * Reads:   nginx autoindex (HTML, JSON), Apache mod_autoindex (list, pre, table),
 *          lighttpd mod_dirlisting, Caddy file_server browse (HTML, JSON), Python's
 *          http.server; and what looks alike. A row is a link to a direct child of
 *          the page's URL and the text after it; which server wrote it is not asked.
 * Trust:   nothing. A link that is no direct child is no entry; what a page cannot
 *          say in a legal name is skipped, counted and reported once. No entity,
 *          no network. A page without its end is an error, and so is one of which all
 *          rows lead elsewhere: neither is an empty directory. Nor is a page without
 *          a list, or a document that does not end: every server read here writes both
 * Units:   bytes; ns since 1970. Times without a zone are of options.index_timezone.
 * Locking: one parser, one thread at a time
 * Errors:  FETCH_PROTOCOL (not an index, malformed, too large), FETCH_SERVER (cut)
 */
#pragma once
#include "fetch/source/base/source.h"

struct index_parser;

/* `content_type`: of the answer, NULL where there is none: then the first byte tells.
 * `base_url`: of the page, after redirects; as all strings copied. `options`: borrowed. */
struct index_parser *index_parser_new(const char *content_type, const char *base_url,
                                      const struct source_options *options);
/* Nothing but the end of the connection tells where the body ends: the page must. */
void index_parser_undelimited(struct index_parser *p);
bool index_parser_feed(struct index_parser *p, const char *data, size_t length, GError **error);
/* Bytes that the entries so far take; `finish`: and that index_parser_finish() will, too. */
uint64_t index_parser_memory(const struct index_parser *p, bool finish);
/* Frees the parser, also on error. `remote_path`: of the directory in the tree, "" = root:
 * an entry's ino is XXH3-64 of "remote_path/name". The others: as listing_builder_finish(); the
 * validator gets a line "L<hex>" where something was left out. */
struct listing *index_parser_finish(struct index_parser *p, const char *validator,
                                    int64_t checked_ns, const struct listing *previous,
                                    const char *remote_path, GError **error);
void index_parser_free(struct index_parser *p);
