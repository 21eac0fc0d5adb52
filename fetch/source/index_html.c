/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* HTML index pages, by libxml2's push parser and SAX.
 * What it is fed is ASCII: bytes ≥ 0x80 and NUL go in as "%XX", which in a link means the
 * same byte, and leaves nothing for an encoding, declared or guessed, to change. */
#include "fetch/source/index_page.h"
#include <libxml/HTMLparser.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 256         /* libxml2 searches its stack at every end tag */
#define BACKLOG_MAX (1 << 20) /* one tag, comment or run of text */
#define PIECE 8192            /* of input, before it is escaped */

struct html {
	struct index_page *page; /* borrowed */
	htmlParserCtxtPtr parser;
	GString *input;       /* escaped, not yet given to the parser */
	struct index_tag tag; /* at the end of input */
	struct index_end end; /* the same */
	const char *wrong;    /* static; the parse has been stopped */
	unsigned depth;
	bool in_link, in_time, in_heading;
	bool sorted; /* there is a link to the same in another order */

	bool row_open;
	struct index_row row;
	bool row_symlink; /* the time shown is the link's own, the size perhaps */
	bool row_lost;    /* its link leads elsewhere */
	bool row_listed;  /* and is one of a list of this host */
	char lost[72];    /* where to, cut */
	char link[24];    /* the link's text, cut */
	size_t link_length;
	unsigned lists; /* open */
	char text[512]; /* of the row, after its link; blanks are ' ' */
	size_t text_length;
	bool cell_value_known;
	uint64_t cell_value; /* the number behind a cell's text */
	size_t cell_start;   /* in text */

	char heading[64];
	size_t heading_length;
	unsigned columns; /* bits of enum column */
};

enum column { COLUMN_NAME = 1, COLUMN_SIZE = 2, COLUMN_TIME = 4 };

static void html_stop(struct html *h, const char *wrong)
{
	if (h->wrong == NULL)
		h->wrong = wrong;
	xmlStopParser(h->parser);
}

static void row_text(struct html *h, const char *text, size_t length)
{
	if (h->row_open)
		h->text_length =
		        index_text_append(h->text, h->text_length, sizeof h->text, text, length);
}

/* The number in an attribute counts as the size only if the text says the same, rounded. */
static void cell_end(struct html *h)
{
	struct index_size shown;
	if (!h->row_open || !h->cell_value_known)
		return;
	h->cell_value_known = false;
	const char *text = h->text + MIN(h->cell_start, h->text_length);
	text += strspn(text, " ");
	if (index_size_parse(text, &shown) == 0)
		return;
	uint64_t off = shown.bytes > h->cell_value ? shown.bytes - h->cell_value
	                                           : h->cell_value - shown.bytes;
	if (off > (shown.exact ? 0 : shown.step))
		return;
	h->row.size = h->cell_value;
	h->row.size_known = h->row.size_exact = true;
}

/* `whole`: only if nothing else is there. */
static void row_take_size(struct html *h, const char *text, bool whole)
{
	struct index_size size;
	size_t used = h->row.size_known ? 0 : index_size_parse(text, &size);
	if (used == 0 || (whole && text[used + strspn(text + used, " ")] != '\0'))
		return;
	h->row.size = size.bytes;
	h->row.size_exact = size.exact;
	h->row.size_known = true;
}

/* "[/] time size …", or "size time". Without a time no number is taken for a size. */
static void row_read_text(struct html *h)
{
	char *text = h->text + strspn(h->text, " ");
	if (text[0] == '/' && text[1] == ' ')
		text += 2;
	if (h->row.dated) {
		row_take_size(h, text, false);
		return;
	}
	for (char *at = text; *at != '\0'; at += strcspn(at, " "), at += strspn(at, " ")) {
		int64_t ns;
		size_t used = index_time_parse(at, index_page_zone(h->page), &ns);
		if (used == 0)
			continue;
		h->row.mtime_ns = ns;
		h->row.mtime_known = h->row.dated = true;
		const char *after = at + used + strspn(at + used, " ");
		row_take_size(h, after, false);
		*at = '\0';
		if (*after == '\0')
			row_take_size(h, text, true);
		return;
	}
}

static void row_end(struct html *h)
{
	if (!h->row_open)
		return;
	cell_end(h);
	row_read_text(h);
	if (h->row_symlink)
		h->row.size_exact = h->row.mtime_known = false;
	h->row_open = false;
	if (!h->row_lost)
		index_page_add(h->page, &h->row);
	else if (h->row.dated || h->row_listed)
		index_page_lost(h->page, h->lost);
}

static void row_begin(struct html *h, const struct index_child *child)
{
	/* an icon that links to the same */
	if (h->row_open && !h->row_lost && h->text[strspn(h->text, " ")] == '\0' &&
	    h->row.child.length == child->length &&
	    memcmp(h->row.child.name, child->name, child->length) == 0) {
		h->row.child.directory |= child->directory;
		return;
	}
	row_end(h);
	h->row = (struct index_row){.child = *child};
	h->row_open = true;
	h->row_lost = false;
	h->row_symlink = h->cell_value_known = false;
	h->text_length = 0;
	h->text[0] = '\0';
}

/* Of a row whose child is known the link belongs to a description. */
static void row_begin_lost(struct html *h, const char *href, bool foreign)
{
	index_page_elsewhere(h->page);
	if (h->row_open && !h->row_lost)
		return;
	row_end(h);
	h->row = (struct index_row){0};
	h->row_open = h->row_lost = true;
	h->row_listed = h->lists > 0 && !foreign;
	h->row_symlink = h->cell_value_known = false;
	h->text_length = 0;
	h->text[0] = '\0';
	g_strlcpy(h->lost, href, sizeof h->lost);
}

/* Behind a proxy the way up may lead elsewhere, too. */
static bool link_is_up(const struct html *h)
{
	const char *text = h->link + strspn(h->link, " [");
	return g_str_has_prefix(text, "..") || g_ascii_strncasecmp(text, "parent dir", 10) == 0 ||
	       g_ascii_strncasecmp(text, "to parent dir", 13) == 0;
}

static void link_end(struct html *h)
{
	if (h->in_link && h->row_lost && h->row_open && link_is_up(h)) {
		h->row_open = false;
		index_page_recognise(h->page);
	}
	h->in_link = false;
}

static const char *attribute(const xmlChar **attributes, const char *name)
{
	for (; attributes != NULL && attributes[0] != NULL; attributes += 2)
		if (g_ascii_strcasecmp((const char *)attributes[0], name) == 0)
			return (const char *)attributes[1];
	return NULL;
}

static void link_begin(struct html *h, const char *href)
{
	struct index_child child;
	const char *why = NULL;
	h->in_link = true;
	h->link_length = 0;
	h->link[0] = '\0';
	if (href == NULL)
		return;
	switch (index_link_resolve(index_page_base(h->page), href, &child, &why)) {
	case INDEX_LINK_CHILD:
		row_begin(h, &child);
		break;
	case INDEX_LINK_PARENT:
		row_end(h);
		index_page_recognise(h->page);
		break;
	case INDEX_LINK_SORT:
		h->sorted = true;
		index_page_recognise(h->page);
		break;
	case INDEX_LINK_BAD:
		row_end(h);
		index_page_refuse(h->page, href, why);
		break;
	case INDEX_LINK_ELSEWHERE:
		row_begin_lost(h, href, false);
		break;
	case INDEX_LINK_FOREIGN:
		row_begin_lost(h, href, true);
		break;
	case INDEX_LINK_HERE:
		break;
	}
}

static void cell_begin(struct html *h, const xmlChar **attributes)
{
	static const char *const names[] = {"data-order", "data-size", "data-sort",
	                                    "data-sort-value"};
	cell_end(h);
	row_text(h, " ", 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(names) && !h->cell_value_known; i++) {
		const char *value = attribute(attributes, names[i]);
		h->cell_value_known =
		        value != NULL && g_ascii_isdigit(value[0]) &&
		        g_ascii_string_to_unsigned(value, 10, 0, INT64_MAX, &h->cell_value, NULL);
	}
	h->cell_start = h->text_length;
}

static void time_begin(struct html *h, const char *datetime)
{
	h->in_time = true;
	if (datetime == NULL || !h->row_open)
		return;
	int64_t ns;
	if (index_time_parse(datetime + strspn(datetime, " "), index_page_zone(h->page), &ns) > 0) {
		h->row.mtime_ns = ns;
		h->row.mtime_known = h->row.dated = true;
	}
}

static bool name_is(const xmlChar *name, const char *const *set)
{
	for (; *set != NULL; set++)
		if (strcmp((const char *)name, *set) == 0)
			return true;
	return false;
}

static const char *const row_ends[] = {"tr", "li", "ul", "ol", "pre", "table", "hr", NULL};
static const char *const lists[] = {"ul", "ol", "dl", "pre", "table", NULL};
static const char *const headings[] = {"title", "h1", "h2", "th", NULL};

static void element_start(void *user, const xmlChar *name, const xmlChar **attributes)
{
	struct html *h = user;
	if (++h->depth > DEPTH_MAX) {
		html_stop(h, "an index page with elements nested too deep");
		return;
	}
	h->lists += name_is(name, lists);
	if (strcmp((const char *)name, "a") == 0) {
		link_begin(h, attribute(attributes, "href"));
	} else if (strcmp((const char *)name, "base") == 0) {
		const char *href = attribute(attributes, "href");
		if (href != NULL)
			index_base_move(index_page_base(h->page), href);
	} else if (strcmp((const char *)name, "td") == 0) {
		cell_begin(h, attributes);
	} else if (strcmp((const char *)name, "time") == 0) {
		time_begin(h, attribute(attributes, "datetime"));
	} else if (strcmp((const char *)name, "use") == 0) { /* Caddy's icons */
		const char *icon = attribute(attributes, "xlink:href");
		if (icon == NULL)
			icon = attribute(attributes, "href");
		h->row_symlink |= icon != NULL && g_str_has_suffix(icon, "-shortcut");
	} else if (name_is(name, headings)) {
		h->in_heading = true;
		h->heading_length = 0;
		h->heading[0] = '\0';
	} else if (name_is(name, row_ends)) {
		row_end(h);
	} else {
		row_text(h, " ", 1);
	}
}

static void heading_end(struct html *h)
{
	const char *text = h->heading;
	if (!h->in_heading)
		return;
	h->in_heading = false;
	if (g_ascii_strncasecmp(text, "Index of ", 9) == 0 ||
	    g_ascii_strncasecmp(text, "Directory listing ", 18) == 0)
		index_page_recognise(h->page);
	if (g_ascii_strncasecmp(text, "Name", 4) == 0 ||
	    g_ascii_strncasecmp(text, "File Name", 9) == 0)
		h->columns |= COLUMN_NAME;
	else if (g_ascii_strncasecmp(text, "Size", 4) == 0 ||
	         g_ascii_strncasecmp(text, "File Size", 9) == 0)
		h->columns |= COLUMN_SIZE;
	else if (g_ascii_strncasecmp(text, "Last modified", 13) == 0 ||
	         g_ascii_strncasecmp(text, "Modified", 8) == 0 ||
	         g_ascii_strncasecmp(text, "Date", 4) == 0)
		h->columns |= COLUMN_TIME;
	if ((h->columns & COLUMN_NAME) != 0 && (h->columns & ~COLUMN_NAME) != 0)
		index_page_recognise(h->page);
}

static void element_end(void *user, const xmlChar *name)
{
	struct html *h = user;
	if (h->depth > 0)
		h->depth--;
	h->lists -= h->lists > 0 && name_is(name, lists);
	if (strcmp((const char *)name, "a") == 0)
		link_end(h);
	else if (strcmp((const char *)name, "time") == 0)
		h->in_time = false;
	else if (strcmp((const char *)name, "td") == 0)
		cell_end(h);
	else if (name_is(name, headings))
		heading_end(h);
	else if (name_is(name, row_ends))
		row_end(h);
}

static void characters(void *user, const xmlChar *text, int length)
{
	struct html *h = user;
	if (h->in_heading)
		h->heading_length =
		        index_text_append(h->heading, h->heading_length, sizeof h->heading,
		                          (const char *)text, length);
	if (h->in_link)
		h->link_length = index_text_append(h->link, h->link_length, sizeof h->link,
		                                   (const char *)text, length);
	if (!h->in_link && !h->in_time)
		row_text(h, (const char *)text, length);
}

static void cdata_ignore(void *user, const xmlChar *text, int length)
{
}

static void G_GNUC_PRINTF(2, 3) message_ignore(void *user, const char *format, ...)
{
}

static void *html_new(struct index_page *page)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, xmlInitParser);
	htmlSAXHandler sax = {
	        .startElement = element_start,
	        .endElement = element_end,
	        .characters = characters,
	        .cdataBlock = cdata_ignore, /* script, style */
	        .warning = message_ignore,
	        .error = message_ignore,
	        .fatalError = message_ignore,
	};
	struct html *h = g_new0(struct html, 1);
	h->page = page;
	h->input = g_string_new(NULL);
	h->parser = htmlCreatePushParserCtxt(&sax, h, NULL, 0, NULL, XML_CHAR_ENCODING_NONE);
	if (h->parser == NULL)
		g_error("no memory for an HTML parser");
	htmlCtxtUseOptions(h->parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR |
	                                      HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
	                                      HTML_PARSE_IGNORE_ENC);
	return h;
}

static void html_free(void *state)
{
	struct html *h = state;
	xmlFreeDoc(h->parser->myDoc);
	htmlFreeParserCtxt(h->parser);
	g_string_free(h->input, TRUE);
	g_free(h);
}

static bool html_check(struct html *h, GError **error)
{
	const xmlParserInput *input = h->parser->input;
	size_t waiting = input != NULL ? input->end - input->cur : 0;
	if (h->wrong == NULL && waiting + h->input->len > BACKLOG_MAX)
		html_stop(h, "an index page with a tag or text of more than 1 MiB");
	else if (h->wrong == NULL && h->parser->disableSAX)
		html_stop(h, "an index page that its parser gave up");
	if (h->wrong == NULL)
		return true;
	g_set_error_literal(error, FETCH_ERROR, FETCH_PROTOCOL, h->wrong);
	return false;
}

/* libxml2 before 2.11 forgets, between chunks, which quote an attribute's value began with,
 * and then waits for the end of the page: it must look at a cut tag from its start. */
static void html_parse(struct html *h, size_t length)
{
#if LIBXML_VERSION < 21100
	if (strtol(xmlParserVersion, NULL, 10) < 21100)
		h->parser->checkIndex = 0;
#endif
	htmlParseChunk(h->parser, h->input->str, length, 0);
	g_string_erase(h->input, 0, length);
}

/* Tags are given to libxml2 whole: it takes a cut "</style>" for more of the style. */
static bool html_feed(void *state, const char *data, size_t length, GError **error)
{
	struct html *h = state;
	while (length > 0) {
		size_t piece = MIN(length, PIECE), seen = h->input->len;
		if (!index_tag_check(&h->tag, data, piece))
			html_stop(h, "an index page with a tag of too many attributes");
		index_end_scan(&h->end, data, piece);
		index_ascii_append(h->input, data, piece);
		const char *last = memrchr(h->input->str + seen, '<', h->input->len - seen);
		if (last != NULL && h->wrong == NULL)
			html_parse(h, last - h->input->str);
		if (!html_check(h, error))
			return false;
		data += piece;
		length -= piece;
	}
	return true;
}

static bool html_end(void *state, GError **error)
{
	struct html *h = state;
	html_parse(h, h->input->len);
	htmlParseChunk(h->parser, NULL, 0, 1);
	row_end(h);
	if (!index_end_reached(&h->end, index_page_delimited(h->page)))
		index_page_cut(h->page);
	if (!(h->end.listed || h->sorted) || (h->end.document && !h->end.ended))
		index_page_bare(h->page, h->end.ended);
	return html_check(h, error);
}

const struct index_syntax index_html = {html_new, html_feed, html_end, html_free};
