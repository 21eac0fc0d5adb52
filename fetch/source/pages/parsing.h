/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Index pages are parsed on threads of their own: the network thread hands data over, and the
 * parser's thread delivers the listing.
 *
 *        parsing_new ──feed()…──▶ parsing_end ──────▶ done(), on a parser's thread
 *                        │  ▲
 *              false: full  └── more(), when data is accepted again
 *
 * Shape:   a page is parsed in slices, page by page in turn: a small page never waits for a large
 *          one. At most QUEUE_MAX bytes and one piece of a page wait to be parsed
 * Memory:  pages that take more than SMALL share `memory`: a page that needs more waits until
 *          others have ended; a page that takes more than half of it may fail
 * Owns:    its parser; borrows the pool and `user`, which live until done()
 * Locking: parsing_feed() and parsing_end() by one thread; more() runs with the parsing's lock
 *          held, done() with none
 * Errors:  as index.h; LOCAL_ERROR ENOMEM: the memory of all pages is used up
 */
#pragma once
#include "fetch/source/pages/index.h"

struct parsing_pool;
struct parsing;

struct parsing_ops {
	/* Data is accepted again after PARSING_FULL. Never after parsing_end(). */
	void (*more)(void *user);
	/* The callee owns `parser`. `error`: of the transfer or of the page, borrowed. */
	void (*done)(void *user, struct index_parser *parser, const GError *error);
};

/* `memory`: bytes for all pages that are being parsed. */
struct parsing_pool *parsing_pool_new(uint64_t memory);
/* After the last parsing_end(): every done() has been called when it returns. */
void parsing_pool_free(struct parsing_pool *pool);

/* Takes `parser`. */
struct parsing *parsing_new(struct parsing_pool *pool, struct index_parser *parser,
                            const struct parsing_ops *ops, void *user);
enum parsing_fed { PARSING_WANTS, PARSING_FULL, PARSING_FAILED };
/* Copies the data. FULL: feed no more until more(). FAILED: *error is set. */
enum parsing_fed parsing_feed(struct parsing *p, const char *data, size_t length, GError **error);
/* The page ended. done() follows, and frees. `error`: why it is incomplete; NULL: it is complete.
 */
void parsing_end(struct parsing *p, const GError *error);
