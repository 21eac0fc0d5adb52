/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* HTML index pages, by libxml2's push parser and SAX.
 * Its input is ASCII: bytes ≥ 0x80 and NUL become "%XX", which in a link means the same byte, and
 * which no declared or guessed encoding changes. */
#include "fetch/source/pages/html_row.h"
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
	bool in_time, in_heading;
	unsigned lists; /* open */
	struct html_row row;

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

static const char *attribute(const xmlChar **attributes, const char *name)
{
	for (; attributes != NULL && attributes[0] != NULL; attributes += 2)
		if (g_ascii_strcasecmp((const char *)attributes[0], name) == 0)
			return (const char *)attributes[1];
	return NULL;
}

/* The first attribute that is a number is used. */
static void cell_begin(struct html *h, const xmlChar **attributes)
{
	static const char *const names[] = {"data-order", "data-size", "data-sort",
	                                    "data-sort-value"};
	uint64_t value = 0;
	bool known = false;
	for (unsigned i = 0; i < G_N_ELEMENTS(names) && !known; i++) {
		const char *text = attribute(attributes, names[i]);
		known = text != NULL && g_ascii_isdigit(text[0]) &&
		        g_ascii_string_to_unsigned(text, 10, 0, INT64_MAX, &value, NULL);
	}
	html_row_cell_begin(&h->row, known, value);
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
		html_row_link_begin(&h->row, attribute(attributes, "href"), h->lists > 0);
	} else if (strcmp((const char *)name, "base") == 0) {
		const char *href = attribute(attributes, "href");
		if (href != NULL)
			index_base_move(index_page_base(h->page), href);
	} else if (strcmp((const char *)name, "td") == 0) {
		cell_begin(h, attributes);
	} else if (strcmp((const char *)name, "time") == 0) {
		h->in_time = true;
		html_row_time(&h->row, attribute(attributes, "datetime"));
	} else if (strcmp((const char *)name, "use") == 0) { /* Caddy's icons */
		const char *icon = attribute(attributes, "xlink:href");
		if (icon == NULL)
			icon = attribute(attributes, "href");
		h->row.symlink |= icon != NULL && g_str_has_suffix(icon, "-shortcut");
	} else if (name_is(name, headings)) {
		h->in_heading = true;
		h->heading_length = 0;
		h->heading[0] = '\0';
	} else if (name_is(name, row_ends)) {
		html_row_end(&h->row);
	} else {
		html_row_text(&h->row, " ", 1);
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
		html_row_link_end(&h->row);
	else if (strcmp((const char *)name, "time") == 0)
		h->in_time = false;
	else if (strcmp((const char *)name, "td") == 0)
		html_row_cell_end(&h->row);
	else if (name_is(name, headings))
		heading_end(h);
	else if (name_is(name, row_ends))
		html_row_end(&h->row);
}

static void characters(void *user, const xmlChar *text, int length)
{
	struct html *h = user;
	if (h->in_heading)
		h->heading_length =
		        index_text_append(h->heading, h->heading_length, sizeof h->heading,
		                          (const char *)text, length);
	if (h->row.in_link)
		html_row_link_text(&h->row, (const char *)text, length);
	else if (!h->in_time)
		html_row_text(&h->row, (const char *)text, length);
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
	h->page = h->row.page = page;
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
	html_row_end(&h->row);
	if (!index_end_reached(&h->end, index_page_delimited(h->page)))
		index_page_cut(h->page);
	if (!(h->end.listed || h->row.sorted) || (h->end.document && !h->end.ended))
		index_page_bare(h->page, h->end.ended);
	return html_check(h, error);
}

const struct index_syntax index_html = {html_new, html_feed, html_end, html_free};
