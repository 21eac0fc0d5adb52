/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One row of an HTML index as its parts arrive: a link, and the text, cells and times after it;
 * private to index_html.c.
 * Shape:   a row begins with a link and ends before the next, or by html_row_end(); it is then
 *          added to the page, or counted as lost if its link leads elsewhere
 * Owns:    nothing; borrows page
 */
#pragma once
#include "fetch/source/pages/index_private.h"

struct html_row { /* zeroed, but for `page`; `sorted` is of the whole page */
	struct index_page *page;
	bool open;
	struct index_row row;
	bool symlink;     /* the time is the symlink's own, the size perhaps too */
	bool lost;        /* its link leads elsewhere */
	bool listed;      /* the lost link is in a list and on this host */
	char lost_to[72]; /* its target, truncated */
	bool sorted;      /* the page has a link to itself in another order */
	bool in_link;
	char link[24]; /* the link's text, truncated */
	size_t link_length;
	char text[512]; /* of the row, after its link; blanks are ' ' */
	size_t text_length;
	bool cell_value_known;
	uint64_t cell_value; /* the number behind a cell's text */
	size_t cell_start;   /* in text */
};

/* `href` NULL: it has none. `in_list`: a list or table is open. */
void html_row_link_begin(struct html_row *r, const char *href, bool in_list);
void html_row_link_text(struct html_row *r, const char *text, size_t length);
void html_row_link_end(struct html_row *r);
void html_row_text(struct html_row *r, const char *text, size_t length);
/* `known`: the cell has the number `value` beside its text. */
void html_row_cell_begin(struct html_row *r, bool known, uint64_t value);
void html_row_cell_end(struct html_row *r);
void html_row_time(struct html_row *r, const char *datetime); /* NULL: no datetime attribute */
void html_row_end(struct html_row *r);
