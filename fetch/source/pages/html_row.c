/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/pages/html_row.h"
#include <string.h>

void html_row_text(struct html_row *r, const char *text, size_t length)
{
	if (r->open)
		r->text_length =
		        index_text_append(r->text, r->text_length, sizeof r->text, text, length);
}

/* The number in an attribute is the size only if the text shows the same, rounded. */
void html_row_cell_end(struct html_row *r)
{
	struct index_size shown;
	if (!r->open || !r->cell_value_known)
		return;
	r->cell_value_known = false;
	const char *text = r->text + MIN(r->cell_start, r->text_length);
	text += strspn(text, " ");
	if (index_size_parse(text, &shown) == 0)
		return;
	uint64_t off = shown.bytes > r->cell_value ? shown.bytes - r->cell_value
	                                           : r->cell_value - shown.bytes;
	if (off > (shown.exact ? 0 : shown.step))
		return;
	r->row.size = r->cell_value;
	r->row.size_known = r->row.size_exact = true;
}

/* `whole`: only if nothing else is there. */
static void row_take_size(struct html_row *r, const char *text, bool whole)
{
	struct index_size size;
	size_t used = r->row.size_known ? 0 : index_size_parse(text, &size);
	if (used == 0 || (whole && text[used + strspn(text + used, " ")] != '\0'))
		return;
	r->row.size = size.bytes;
	r->row.size_exact = size.exact;
	r->row.size_known = true;
}

/* "[/] time size …", or "size time". Without a time no number is taken for a size. */
static void row_read_text(struct html_row *r)
{
	char *text = r->text + strspn(r->text, " ");
	if (text[0] == '/' && text[1] == ' ')
		text += 2;
	if (r->row.dated) {
		row_take_size(r, text, false);
		return;
	}
	for (char *at = text; *at != '\0'; at += strcspn(at, " "), at += strspn(at, " ")) {
		int64_t ns;
		size_t used = index_time_parse(at, index_page_zone(r->page), &ns);
		if (used == 0)
			continue;
		r->row.mtime_ns = ns;
		r->row.mtime_known = r->row.dated = true;
		const char *after = at + used + strspn(at + used, " ");
		row_take_size(r, after, false);
		*at = '\0';
		if (*after == '\0')
			row_take_size(r, text, true);
		return;
	}
}

void html_row_end(struct html_row *r)
{
	if (!r->open)
		return;
	html_row_cell_end(r);
	row_read_text(r);
	if (r->symlink)
		r->row.size_exact = r->row.mtime_known = false;
	r->open = false;
	if (!r->lost)
		index_page_add(r->page, &r->row);
	else if (r->row.dated || r->listed)
		index_page_lost(r->page, r->lost_to);
}

static void row_begin(struct html_row *r, const struct index_child *child)
{
	/* an icon with the same link */
	if (r->open && !r->lost && r->text[strspn(r->text, " ")] == '\0' &&
	    r->row.child.length == child->length &&
	    memcmp(r->row.child.name, child->name, child->length) == 0) {
		r->row.child.directory |= child->directory;
		return;
	}
	html_row_end(r);
	r->row = (struct index_row){.child = *child};
	r->open = true;
	r->lost = false;
	r->symlink = r->cell_value_known = false;
	r->text_length = 0;
	r->text[0] = '\0';
}

/* Once the row's child is known, another link belongs to its description. */
static void row_begin_lost(struct html_row *r, const char *href, bool listed)
{
	index_page_elsewhere(r->page);
	if (r->open && !r->lost)
		return;
	html_row_end(r);
	r->row = (struct index_row){0};
	r->open = r->lost = true;
	r->listed = listed;
	r->symlink = r->cell_value_known = false;
	r->text_length = 0;
	r->text[0] = '\0';
	g_strlcpy(r->lost_to, href, sizeof r->lost_to);
}

/* Behind a proxy the link to the parent may lead elsewhere, too. */
static bool link_is_up(const struct html_row *r)
{
	const char *text = r->link + strspn(r->link, " [");
	return g_str_has_prefix(text, "..") || g_ascii_strncasecmp(text, "parent dir", 10) == 0 ||
	       g_ascii_strncasecmp(text, "to parent dir", 13) == 0;
}

void html_row_link_end(struct html_row *r)
{
	if (r->in_link && r->lost && r->open && link_is_up(r)) {
		r->open = false;
		index_page_recognise(r->page);
	}
	r->in_link = false;
}

void html_row_link_text(struct html_row *r, const char *text, size_t length)
{
	r->link_length = index_text_append(r->link, r->link_length, sizeof r->link, text, length);
}

void html_row_link_begin(struct html_row *r, const char *href, bool in_list)
{
	struct index_child child;
	const char *why = NULL;
	r->in_link = true;
	r->link_length = 0;
	r->link[0] = '\0';
	if (href == NULL)
		return;
	switch (index_link_resolve(index_page_base(r->page), href, &child, &why)) {
	case INDEX_LINK_CHILD:
		row_begin(r, &child);
		break;
	case INDEX_LINK_PARENT:
		html_row_end(r);
		index_page_recognise(r->page);
		break;
	case INDEX_LINK_SORT:
		r->sorted = true;
		index_page_recognise(r->page);
		break;
	case INDEX_LINK_BAD:
		html_row_end(r);
		index_page_refuse(r->page, href, why);
		break;
	case INDEX_LINK_ELSEWHERE:
		row_begin_lost(r, href, in_list);
		break;
	case INDEX_LINK_FOREIGN:
		row_begin_lost(r, href, false);
		break;
	case INDEX_LINK_HERE:
		break;
	}
}

void html_row_cell_begin(struct html_row *r, bool known, uint64_t value)
{
	html_row_cell_end(r);
	html_row_text(r, " ", 1);
	r->cell_value_known = known;
	r->cell_value = value;
	r->cell_start = r->text_length;
}

void html_row_time(struct html_row *r, const char *datetime)
{
	if (datetime == NULL || !r->open)
		return;
	int64_t ns;
	if (index_time_parse(datetime + strspn(datetime, " "), index_page_zone(r->page), &ns) > 0) {
		r->row.mtime_ns = ns;
		r->row.mtime_known = r->row.dated = true;
	}
}
