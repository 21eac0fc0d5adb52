/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/pages/index_private.h"
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define PAGE_MAX (UINT64_C(1) << 30)
#define HELD_MAX 1024

struct index_page {
	struct index_base base;
	struct listing_builder *builder;
	uint32_t file_mode, dir_mode, uid, gid; /* modes with their type */

	/* A page that shows times shows one for every file of its index: there a link to a
	 * file without one is prose (HEADER.html, README.html). Until a time is seen, rows
	 * are held; a page that shows none in its first HELD_MAX rows shows none at all. */
	enum { TIMES_UNKNOWN, TIMES_SHOWN, TIMES_NONE } times;
	GArray *held; /* of struct index_row, while TIMES_UNKNOWN */

	bool recognised, undelimited, cut, bare, ended;
	unsigned added, refused, elsewhere, lost;
	char *refused_first, *lost_first; /* printable; NULL */
	uint64_t names_max;
	GTimeZone *zone; /* a reference; NULL: UTC */
	GError *failed;
};

struct index_parser {
	struct index_page page;
	const struct index_syntax *syntax; /* NULL: the first byte will tell */
	void *state;                       /* owned, of syntax */
	uint64_t length, length_max;
};

static bool type_is(const char *content_type, const char *type)
{
	size_t length = strlen(type);
	return g_ascii_strncasecmp(content_type, type, length) == 0 &&
	       !g_ascii_isalnum(content_type[length]) && content_type[length] != '+' &&
	       content_type[length] != '-' && content_type[length] != '.';
}

static const struct index_syntax *syntax_of_type(const char *content_type)
{
	if (content_type == NULL)
		return NULL;
	content_type += strspn(content_type, " \t");
	if (type_is(content_type, "text/html") || type_is(content_type, "application/xhtml+xml"))
		return &index_html;
	if (type_is(content_type, "application/json") || type_is(content_type, "text/json"))
		return &index_json;
	return NULL;
}

struct index_parser *index_parser_new(const char *content_type, const char *base_url,
                                      const struct source_options *options)
{
	struct index_parser *p = g_new0(struct index_parser, 1);
	struct index_page *page = &p->page;
	uint32_t file_mode = options->file_mode != 0 ? options->file_mode : 0755;
	uint32_t dir_mode = options->dir_mode != 0 ? options->dir_mode : 0755;
	page->file_mode = S_IFREG | (file_mode & 07777);
	page->dir_mode = S_IFDIR | (dir_mode & 07777);
	page->uid = options->uid;
	page->gid = options->gid;
	page->names_max = options->index_names != 0 ? options->index_names : UINT32_MAX;
	p->length_max = options->index_bytes != 0 ? options->index_bytes : PAGE_MAX;
	if (options->index_timezone != NULL)
		page->zone = g_time_zone_new_identifier(options->index_timezone);
	page->builder = listing_builder_new();
	page->held = g_array_new(FALSE, FALSE, sizeof(struct index_row));
	if (!index_base_parse(&page->base, base_url))
		page->failed = g_error_new_literal(FETCH_ERROR, FETCH_USAGE,
		                                   "an index page needs an absolute URL");
	p->syntax = syntax_of_type(content_type);
	return p;
}

void index_parser_free(struct index_parser *p)
{
	if (p == NULL)
		return;
	if (p->state != NULL)
		p->syntax->free(p->state);
	listing_builder_free(p->page.builder);
	g_array_free(p->page.held, TRUE);
	index_base_clear(&p->page.base);
	g_free(p->page.refused_first);
	g_free(p->page.lost_first);
	g_clear_pointer(&p->page.zone, g_time_zone_unref);
	g_clear_error(&p->page.failed);
	g_free(p);
}

static bool parser_sniff(struct index_parser *p, const char *data, size_t length)
{
	if (p->syntax == NULL) {
		size_t i = 0;
		while (i < length && (g_ascii_isspace(data[i]) || data[i] == '\xef' ||
		                      data[i] == '\xbb' || data[i] == '\xbf'))
			i++;
		if (i == length)
			return false;
		p->syntax = data[i] == '[' || data[i] == '{' ? &index_json : &index_html;
	}
	if (p->state == NULL)
		p->state = p->syntax->new (&p->page);
	return true;
}

bool index_parser_feed(struct index_parser *p, const char *data, size_t length, GError **error)
{
	struct index_page *page = &p->page;
	p->length += length;
	if (page->failed == NULL && p->length > p->length_max)
		page->failed = g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
		                           "an index page of more than %" G_GUINT64_FORMAT
		                           " KiB (-o index_bytes)",
		                           p->length_max >> 10);
	if (page->failed == NULL && parser_sniff(p, data, length)) {
		GError *wrong = NULL;
		if (!p->syntax->feed(p->state, data, length, &wrong)) {
			if (page->failed == NULL)
				page->failed = wrong;
			else
				g_error_free(wrong);
		}
	}
	if (page->failed == NULL)
		return true;
	if (error != NULL)
		*error = g_error_copy(page->failed);
	return false;
}

struct index_base *index_page_base(struct index_page *page)
{
	return &page->base;
}

GTimeZone *index_page_zone(const struct index_page *page)
{
	return page->zone;
}

void index_parser_undelimited(struct index_parser *p)
{
	p->page.undelimited = true;
}

bool index_page_delimited(const struct index_page *page)
{
	return !page->undelimited;
}

void index_page_cut(struct index_page *page)
{
	page->cut = true;
}

void index_page_bare(struct index_page *page, bool ended)
{
	page->bare = true;
	page->ended = ended;
}

void index_page_recognise(struct index_page *page)
{
	page->recognised = true;
}

void index_page_elsewhere(struct index_page *page)
{
	page->elsewhere++;
}

static char *printable(const char *text)
{
	g_autofree char *start = g_strndup(text, 64);
	return g_strescape(start, NULL);
}

void index_page_lost(struct index_page *page, const char *href)
{
	if (page->lost++ == 0)
		page->lost_first = printable(href);
}

void index_page_refuse(struct index_page *page, const char *name, const char *why)
{
	if (page->refused++ > 0)
		return;
	g_autofree char *shown = printable(name);
	page->refused_first = g_strdup_printf("\"%s\": %s", shown, why);
}

static void row_add(struct index_page *page, const struct index_row *row)
{
	const struct index_child *child = &row->child;
	/* A POSIX name may have control characters, but no honest web server serves one */
	for (size_t i = 0; i < child->length; i++)
		if ((unsigned char)child->name[i] < 0x20 || child->name[i] == 0x7f) {
			index_page_refuse(page, child->name, "a name with a control character");
			return;
		}
	struct listing_entry e = {
	        .ino = UINT64_MAX, /* until the path is known */
	        .mode = child->directory ? page->dir_mode : page->file_mode,
	        .uid = page->uid,
	        .gid = page->gid,
	        .nlink = 1,
	};
	if (row->mtime_known) {
		e.mtime_ns = row->mtime_ns;
		e.flags |= LISTING_MTIME_KNOWN;
	}
	if (child->directory) {
		e.flags |= LISTING_SIZE_EXACT;
	} else if (row->size_known) {
		e.size = row->size;
		e.flags |= row->size_exact ? LISTING_SIZE_EXACT : 0;
	}
	g_autoptr(GError) error = NULL;
	if (listing_builder_add(page->builder, child->name, child->length, &e, NULL, NULL,
	                        &error)) {
		if (++page->added > page->names_max && page->failed == NULL)
			page->failed = g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
			                           "an index of more than %" G_GUINT64_FORMAT
			                           " names (-o index_names)",
			                           page->names_max);
		return;
	}
	if (g_error_matches(error, FETCH_ERROR, FETCH_PROTOCOL))
		index_page_refuse(page, child->name, error->message);
	else if (page->failed == NULL)
		page->failed = g_steal_pointer(&error);
}

static void held_release(struct index_page *page)
{
	for (guint i = 0; i < page->held->len; i++) {
		const struct index_row *row = &g_array_index(page->held, struct index_row, i);
		if (page->times == TIMES_NONE || row->child.directory)
			row_add(page, row);
		else
			page->elsewhere++;
	}
	g_array_set_size(page->held, 0);
}

void index_page_add(struct index_page *page, const struct index_row *row)
{
	if (page->times == TIMES_UNKNOWN) {
		if (row->dated)
			page->times = TIMES_SHOWN;
		else if (page->held->len == HELD_MAX)
			page->times = TIMES_NONE;
		if (page->times == TIMES_UNKNOWN) {
			g_array_append_val(page->held, *row);
			return;
		}
		held_release(page);
	}
	if (page->times == TIMES_SHOWN && !row->dated && !row->child.directory)
		page->elsewhere++;
	else
		row_add(page, row);
}

/* Only a complete index without rows is an empty directory; any other page without entries is an
 * error. */
static GError *page_wrong(const struct index_page *page)
{
	bool bare = page->bare && page->added + page->lost == 0;
	if (!page->recognised || (bare && page->ended))
		return g_error_new_literal(
		        FETCH_ERROR, FETCH_PROTOCOL,
		        "not a directory index; if the server sends an index.html "
		        "instead, make it list the directory "
		        "(nginx: index none; Apache: DirectoryIndex disabled)");
	if (page->cut || bare)
		return g_error_new_literal(FETCH_ERROR, FETCH_SERVER,
		                           "the index page is truncated: its end (</html>, </pre>, "
		                           "</table>) is missing");
	if (page->added == 0 && page->lost > 0)
		return g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
		                   "all %u rows of the index link outside of it, the first to "
		                   "\"%s\": mount the URL that the server "
		                   "uses for itself",
		                   page->lost, page->lost_first);
	return NULL;
}

uint64_t index_parser_memory(const struct index_parser *p, bool finish)
{
	return listing_builder_memory(p->page.builder, finish);
}

static bool parser_end(struct index_parser *p, GError **error)
{
	struct index_page *page = &p->page;
	if (page->failed == NULL && p->syntax != NULL && p->state == NULL)
		p->state = p->syntax->new (page);
	if (page->failed == NULL && p->state != NULL)
		p->syntax->end(p->state, &page->failed);
	if (page->failed == NULL && page->times == TIMES_UNKNOWN) {
		page->times = TIMES_NONE;
		held_release(page);
	}
	if (page->failed == NULL)
		page->failed = page_wrong(page);
	if (page->failed == NULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&page->failed));
	return false;
}

struct identity {
	GString *path;
	size_t prefix;
};

/* 1 is the root's. */
static uint64_t identity_of(const char *name, size_t name_len, void *user)
{
	struct identity *id = user;
	g_string_truncate(id->path, id->prefix);
	g_string_append_len(id->path, name, name_len);
	uint64_t hash = XXH3_64bits(id->path->str, id->path->len);
	return hash > 1 ? hash : hash + 2;
}

/* The entries left out of a listing, as a line of its validator; "" for none. */
static char *left_out_line(const struct index_page *page)
{
	if (page->lost == 0 && page->refused == 0)
		return g_strdup("");
	g_autofree char *text =
	        g_strdup_printf("%u %s\n%u %s", page->lost, page->lost > 0 ? page->lost_first : "",
	                        page->refused, page->refused > 0 ? page->refused_first : "");
	return g_strdup_printf("\nL%016" G_GINT64_MODIFIER "x",
	                       (guint64)XXH3_64bits(text, strlen(text)));
}

/* Logs them once, and again if they differ, also in a later mount. */
static void left_out_tell(const struct index_page *page, const char *line,
                          const struct listing *previous, const char *remote_path)
{
	bool logged = previous != NULL && *line != '\0' &&
	              strstr(listing_validator(previous), line) != NULL;
	if (page->lost > 0 && !logged)
		g_message("%u rows of the index of \"%s\" link outside of it and are skipped; the "
		          "first: \"%s\"",
		          page->lost, remote_path, page->lost_first);
	if (page->refused > 0 && !logged)
		g_message("%u links in the index of \"%s\" are not entries of it; the first: %s",
		          page->refused, remote_path, page->refused_first);
	else if (page->elsewhere > 0)
		g_debug("%u links in the index of \"%s\" lead outside of it", page->elsewhere,
		        remote_path);
}

struct listing *index_parser_finish(struct index_parser *p, const char *validator,
                                    int64_t checked_ns, const struct listing *previous,
                                    const char *remote_path, GError **error)
{
	struct index_page *page = &p->page;
	struct listing *listing = NULL;
	g_autofree char *line = NULL;
	if (parser_end(p, error)) {
		struct identity id = {g_string_new(remote_path), 0};
		if (id.path->len > 0)
			g_string_append_c(id.path, '/');
		id.prefix = id.path->len;
		listing_builder_identify(page->builder, identity_of, &id);
		g_string_free(id.path, TRUE);
		line = left_out_line(page);
		g_autofree char *with_line = g_strconcat(validator, line, NULL);
		listing = listing_builder_finish(g_steal_pointer(&page->builder), with_line,
		                                 checked_ns, previous);
		if (listing == NULL)
			g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL,
			            "the index of \"%s\" is too large to be kept", remote_path);
	}
	if (listing != NULL)
		left_out_tell(page, line, previous, remote_path);
	index_parser_free(p);
	return listing;
}
