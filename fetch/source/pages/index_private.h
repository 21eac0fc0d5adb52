/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the index parsers; private to index*.c and html_row.c. */
#pragma once
#include "fetch/source/pages/index.h"

/* ---- index_link.c: the name of a link, if any */

struct index_base {      /* of the page; every string owned */
	char *scheme;    /* lower case */
	char *authority; /* as in the URL */
	char **path;     /* decoded segments of its directory; NULL-terminated */
	char *directory; /* as in the URL, from '/' to '/' */
	bool moved;      /* by <base>: relative links start at `start`, NULL = elsewhere */
	char *start;
};

enum index_link {
	INDEX_LINK_CHILD,     /* a direct child */
	INDEX_LINK_HERE,      /* the page itself, a query or fragment of it, an ancestor */
	INDEX_LINK_PARENT,    /* literally ".." */
	INDEX_LINK_SORT,      /* the page in another order: only an index has such a link */
	INDEX_LINK_ELSEWHERE, /* another path of the host, scheme or port, or deeper than a child */
	INDEX_LINK_FOREIGN,   /* another host, or none */
	INDEX_LINK_BAD,       /* a child with an illegal name */
};

struct index_child {
	char name[256]; /* listing_builder_add() may still refuse it */
	uint16_t length;
	bool directory; /* the link ends in '/' */
};

bool index_base_parse(struct index_base *base, const char *url);
void index_base_clear(struct index_base *base);
/* <base href>: where relative links start from. The set of children does not change. */
void index_base_move(struct index_base *base, const char *href);
/* `why`: set (static) where the link is BAD. */
enum index_link index_link_resolve(const struct index_base *base, const char *href,
                                   struct index_child *child, const char **why);

/* ---- index_text.c: times and sizes as servers print them */

/* Parses a time at the start of `text` (NUL-terminated): its length, 0 = none. A time without a
 * zone is in `zone`, NULL = UTC. */
size_t index_time_parse(const char *text, GTimeZone *zone, int64_t *ns);

struct index_size {
	uint64_t bytes;
	uint64_t step; /* of the last digit shown */
	bool exact;    /* the number of bytes itself */
};
size_t index_size_parse(const char *text, struct index_size *size);
/* Appends `count` bytes to the `length` in `to`, every run of blanks (no-break spaces too) as
 * one ' ', as far as they and a NUL after them fit. Returns the new length. */
size_t index_text_append(char *to, size_t length, size_t capacity, const char *from, size_t count);
/* Appends `count` bytes, those ≥ 0x80 and NUL as "%XX". */
void index_ascii_append(GString *to, const char *from, size_t count);

/* The state of a page's text: inside a tag or not. All 0 at the start. */
struct index_tag {
	bool angle, open, blank;
	char quote; /* '\0' = none */
	unsigned attributes, words;
};
/* false: a tag with an excessive number of attributes: libxml2 compares each with each, which
 * took 67 s for 150,000. */
bool index_tag_check(struct index_tag *tag, const char *text, size_t count);

/* ---- index_end.c: whether a page of HTML is complete. All 0 at the start. */

struct index_end {
	char name[5]; /* of the current tag, lower case */
	uint8_t length;
	bool angle, closing;
	unsigned open; /* lists, tables, preformatted text */
	bool listed;   /* the page has one of these */
	bool document; /* <html> or <body> */
	bool ended;    /* </html> or </body>, and no link of a list since */
};
void index_end_scan(struct index_end *end, const char *text, size_t count);
/* `delimited`: the transport saw the end of the body. */
bool index_end_reached(const struct index_end *end, bool delimited);

/* ---- index.c: the resulting listing */

struct index_row {
	struct index_child child;
	bool mtime_known, size_known, size_exact;
	bool dated; /* the page shows a time for it, correct or not */
	int64_t mtime_ns;
	uint64_t size;
};

struct index_page;
void index_page_add(struct index_page *page, const struct index_row *row);
/* A refused link or entry. `name`: unchanged, for the log. */
void index_page_refuse(struct index_page *page, const char *name, const char *why);
void index_page_elsewhere(struct index_page *page);
/* A row that looks like an entry, but whose link leads elsewhere. */
void index_page_lost(struct index_page *page, const char *href);
/* The page is truncated. */
void index_page_cut(struct index_page *page);
/* The page has no list, or is an unterminated document: with entries it may still be an index, but
 * not of an empty directory. */
void index_page_bare(struct index_page *page, bool ended);
bool index_page_delimited(const struct index_page *page);
/* The page is a directory index, not just any document. */
void index_page_recognise(struct index_page *page);
struct index_base *index_page_base(struct index_page *page);
/* The zone of times without one; borrowed, NULL = UTC. */
GTimeZone *index_page_zone(const struct index_page *page);

/* ---- index_html.c, index_json.c: one syntax each */

struct index_syntax {
	void *(*new)(struct index_page *page);
	bool (*feed)(void *state, const char *data, size_t length, GError **error);
	bool (*end)(void *state, GError **error);
	void (*free)(void *state);
};
extern const struct index_syntax index_html, index_json;
