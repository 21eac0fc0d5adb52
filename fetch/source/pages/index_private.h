/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the index parsers share; private to index*.c and html_row.c. */
#pragma once
#include "fetch/source/pages/index.h"

/* ---- index_link.c: which name a link gives, if any */

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
	INDEX_LINK_SORT,      /* the page in another order: only an index has that */
	INDEX_LINK_ELSEWHERE, /* another path of the host, scheme or port, or deeper than a child */
	INDEX_LINK_FOREIGN,   /* another host, or none */
	INDEX_LINK_BAD,       /* would be a child, but names none */
};

struct index_child {
	char name[256]; /* may still hold what listing_builder_add() refuses */
	uint16_t length;
	bool directory; /* the link ends in '/' */
};

bool index_base_parse(struct index_base *base, const char *url);
void index_base_clear(struct index_base *base);
/* <base href>: where relative links start from. What is a child stays what it was. */
void index_base_move(struct index_base *base, const char *href);
/* `why`: set (static) where the link is BAD. */
enum index_link index_link_resolve(const struct index_base *base, const char *href,
                                   struct index_child *child, const char **why);

/* ---- index_text.c: times and sizes as servers print them */

/* At the start of `text` (NUL-terminated): how many bytes were a time, 0 = none. Without a
 * zone it is of `zone`, NULL = UTC. */
size_t index_time_parse(const char *text, GTimeZone *zone, int64_t *ns);

struct index_size {
	uint64_t bytes;
	uint64_t step; /* of the last digit shown */
	bool exact;    /* the number of bytes itself */
};
size_t index_size_parse(const char *text, struct index_size *size);
/* Appends `count` bytes to the `length` in `to`, every run of blanks (no-break spaces too) as
 * one ' ', as far as there is room and a NUL after it. Returns the new length. */
size_t index_text_append(char *to, size_t length, size_t room, const char *from, size_t count);
/* Appends `count` bytes, those ≥ 0x80 and NUL as "%XX". */
void index_ascii_append(GString *to, const char *from, size_t count);

/* Where the text of a page stands, within a tag or not. All 0 at the start. */
struct index_tag {
	bool angle, open, blank;
	char quote; /* '\0' = none */
	unsigned attributes, words;
};
/* false: a tag of more attributes than any has: libxml2 compares each with each, and took
 * 67 s for one of 150,000. */
bool index_tag_check(struct index_tag *tag, const char *text, size_t count);

/* ---- index_end.c: whether a page of HTML is whole. All 0 at the start. */

struct index_end {
	char name[5]; /* of the tag at hand, lower case */
	uint8_t length;
	bool angle, closing;
	unsigned open; /* lists, tables, preformatted text */
	bool listed;   /* there was one */
	bool document; /* <html> or <body> */
	bool ended;    /* </html> or </body>, and no link of a list since */
};
void index_end_scan(struct index_end *end, const char *text, size_t count);
/* `delimited`: the transport saw the end of the body. */
bool index_end_reached(const struct index_end *end, bool delimited);

/* ---- index.c: the listing that comes of it */

struct index_row {
	struct index_child child;
	bool mtime_known, size_known, size_exact;
	bool dated; /* the page shows a time for it, be it the right one or not */
	int64_t mtime_ns;
	uint64_t size;
};

struct index_page;
void index_page_add(struct index_page *page, const struct index_row *row);
/* A link or an entry that is none. `name`: as it was, for the log. */
void index_page_refuse(struct index_page *page, const char *name, const char *why);
void index_page_elsewhere(struct index_page *page);
/* A row like those of entries whose link leads elsewhere. */
void index_page_lost(struct index_page *page, const char *href);
/* The page ended before its end. */
void index_page_cut(struct index_page *page);
/* There is no list in it, or a document without its end: with a name or two it may be an index all
 * the same, but it is none of an empty directory. */
void index_page_bare(struct index_page *page, bool ended);
bool index_page_delimited(const struct index_page *page);
/* It is a directory index, not just any document. */
void index_page_recognise(struct index_page *page);
struct index_base *index_page_base(struct index_page *page);
/* Of times without one; borrowed, NULL = UTC. */
GTimeZone *index_page_zone(const struct index_page *page);

/* ---- index_html.c, index_json.c: one syntax each */

struct index_syntax {
	void *(*new)(struct index_page *page);
	bool (*feed)(void *state, const char *data, size_t length, GError **error);
	bool (*end)(void *state, GError **error);
	void (*free)(void *state);
};
extern const struct index_syntax index_html, index_json;
