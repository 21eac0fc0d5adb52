/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Index pages become listings on threads of their own: the network thread hands over what
 * arrives, and what comes of it is given out by who parsed it.
 *
 *        parsing_new ──feed()…──▶ parsing_end ──────▶ done(), on a parser's thread
 *                        │  ▲
 *              false: full  └── more(), when there is room again
 *
 * Shape:   a page is parsed in slices, page by page in turn: a small one never waits for a large
 *          one. What waits to be parsed of one page is at most QUEUE_MAX and one piece
 * Memory:  pages that take more than SMALL share `memory`: one that needs more waits until others
 *          have ended; what half of it does not hold may fail
 * Owns:    its parser; borrows the room and `user`, which live until done()
 * Locking: parsing_feed() and parsing_end() by one thread; more() runs with the parsing's lock
 *          held, done() with none
 * Errors:  as index.h; LOCAL_ERROR ENOMEM: the memory of all pages is used up
 */
#pragma once
#include "fetch/source/pages/index.h"

struct parsing_room;
struct parsing;

struct parsing_ops {
	/* What was refused is wanted now. Never after parsing_end(). */
	void (*more)(void *user);
	/* `parser` is the callee's. `error`: of the transfer or of the page, borrowed. */
	void (*done)(void *user, struct index_parser *parser, const GError *error);
};

/* `memory`: bytes for all pages that are being parsed. */
struct parsing_room *parsing_room_new(uint64_t memory);
/* After the last parsing_end(): every done() has been called when it returns. */
void parsing_room_free(struct parsing_room *room);

/* Takes `parser`. */
struct parsing *parsing_new(struct parsing_room *room, struct index_parser *parser,
                            const struct parsing_ops *ops, void *user);
enum parsing_fed { PARSING_WANTS, PARSING_FULL, PARSING_FAILED };
/* A copy is taken. FULL: nothing more until more(). FAILED: *error says why. */
enum parsing_fed parsing_feed(struct parsing *p, const char *data, size_t length, GError **error);
/* Nothing more comes. done() follows, and frees. `error`: why it is not all; NULL: it is. */
void parsing_end(struct parsing *p, const GError *error);
