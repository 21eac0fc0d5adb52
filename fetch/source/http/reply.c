/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/reply.h"
#include <string.h>
#include <xxhash.h>

#define RETRY_AFTER_MAX 3600

static void reply_begin(struct reply *r)
{
	g_free(r->etag);
	g_free(r->modified);
	g_free(r->type);
	g_free(r->location);
	g_free(r->encoding);
	g_free(r->retry_after);
	g_free(r->date);
	*r = (struct reply){.length = -1, .total = UINT64_MAX};
}

void reply_clear(struct reply *r)
{
	reply_begin(r);
}

/* Reads digits at *s up to `end`, moves past them. */
static bool take_number(const char **s, const char *end, uint64_t *out)
{
	const char *p = *s;
	uint64_t value = 0;
	for (; p < end && g_ascii_isdigit(*p); p++) {
		if (value > (INT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*p - '0');
	}
	if (p == *s)
		return false;
	*s = p;
	*out = value;
	return true;
}

static bool whole_number(const char *s, const char *end, uint64_t *out)
{
	return take_number(&s, end, out) && s == end;
}

static bool take_char(const char **s, const char *end, char c)
{
	if (*s == end || **s != c)
		return false;
	(*s)++;
	return true;
}

/* "bytes FIRST-LAST/TOTAL", "bytes FIRST-LAST/" with a star, "bytes" star "/TOTAL" */
static enum reply_range parse_range(struct reply *r, const char *s, const char *end)
{
	uint64_t first = 0, last = 0, total = UINT64_MAX;
	if (end - s < 6 || g_ascii_strncasecmp(s, "bytes ", 6) != 0)
		return RANGE_BAD;
	s += 6;
	bool unsatisfied = take_char(&s, end, '*');
	if (!unsatisfied && (!take_number(&s, end, &first) || !take_char(&s, end, '-') ||
	                     !take_number(&s, end, &last)))
		return RANGE_BAD;
	if (!take_char(&s, end, '/'))
		return RANGE_BAD;
	if (!(end - s == 1 && *s == '*') && !whole_number(s, end, &total))
		return RANGE_BAD;
	if (!unsatisfied && (first > last || last >= total))
		return RANGE_BAD;
	r->first = first;
	r->last = last;
	r->total = total;
	return unsatisfied ? RANGE_UNSATISFIED : RANGE_GOOD;
}

static void keep(char **field, const char *value, const char *end)
{
	g_free(*field);
	*field = g_strndup(value, (gsize)(end - value));
}

static void reply_header(struct reply *r, const char *name, size_t length, const char *value,
                         const char *end)
{
	uint64_t number;
#define IS(text) (length == sizeof(text) - 1 && g_ascii_strncasecmp(name, text, length) == 0)
	if (IS("Content-Length"))
		r->length = whole_number(value, end, &number) ? (int64_t)number : -1;
	else if (IS("Content-Range"))
		r->range = r->range == RANGE_NONE ? parse_range(r, value, end) : RANGE_BAD;
	else if (IS("ETag"))
		keep(&r->etag, value, end);
	else if (IS("Last-Modified"))
		keep(&r->modified, value, end);
	else if (IS("Content-Type"))
		keep(&r->type, value, end);
	else if (IS("Location"))
		keep(&r->location, value, end);
	else if (IS("Content-Encoding"))
		keep(&r->encoding, value, end);
	else if (IS("Transfer-Encoding"))
		r->framed = end - value >= 7 && g_ascii_strncasecmp(end - 7, "chunked", 7) == 0;
	else if (IS("Retry-After"))
		keep(&r->retry_after, value, end);
	else if (IS("Set-Cookie"))
		r->sets_cookie = true;
	else if (IS("Date"))
		keep(&r->date, value, end);
#undef IS
}

/* "HTTP/1.1 206 …" */
static unsigned parse_status(const char *line, const char *end)
{
	const char *s = memchr(line, ' ', (size_t)(end - line));
	uint64_t status;
	if (s == NULL)
		return 0;
	s++;
	return take_number(&s, end, &status) && status >= 100 && status <= 999 ? (unsigned)status
	                                                                       : 0;
}

bool reply_feed(struct reply *r, const char *line, size_t length)
{
	const char *end = line + length;
	while (end > line && strchr("\r\n \t", end[-1]) != NULL)
		end--;
	/* a line of blanks goes on with the one before */
	if (end == line && (length == 0 || line[0] == '\r' || line[0] == '\n'))
		return true;
	if (line[0] == ' ' || line[0] == '\t')
		return false;
	if (end - line >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		reply_begin(r);
		r->status = parse_status(line, end);
		r->framed = end - line > 5 && line[5] >= '2'; /* streams */
		return false;
	}
	const char *colon = memchr(line, ':', (size_t)(end - line));
	if (colon == NULL)
		return false;
	const char *value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	reply_header(r, line, (size_t)(colon - line), value, end);
	return false;
}

uint64_t reply_version(const struct reply *r, uint64_t size, bool etag)
{
	uint64_t parts[3] = {0, 0, size};
	const char *value = r->etag;
	if (value != NULL && (value[0] == 'W' || value[0] == 'w') && value[1] == '/')
		value += 2;
	if (value != NULL && (etag || r->modified == NULL))
		parts[0] = XXH3_64bits(value, strlen(value));
	if (r->modified != NULL)
		parts[1] = XXH3_64bits(r->modified, strlen(r->modified));
	uint64_t version = XXH3_64bits(parts, sizeof(parts));
	return version != 0 ? version : 1;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. */
static int64_t days_before(int64_t year, unsigned month, unsigned day)
{
	static const unsigned before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	int64_t past = year - 1;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return past * 365 + past / 4 - past / 100 + past / 400 - 719162 + before[month] +
	       (leap && month > 1 ? 1 : 0) + (day - 1);
}

static bool two_digits(const char *s, unsigned max, unsigned *out)
{
	if (!g_ascii_isdigit(s[0]) || !g_ascii_isdigit(s[1]))
		return false;
	*out = (unsigned)(s[0] - '0') * 10 + (unsigned)(s[1] - '0');
	return *out <= max;
}

static bool month_index(const char *s, unsigned *out)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (unsigned i = 0; i < 12; i++)
		if (memcmp(s, names + 3 * i, 3) == 0) {
			*out = i;
			return true;
		}
	return false;
}

/* IMF-fixdate, the one form RFC 9110 lets be sent: "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool date_parse(const char *s, int64_t *seconds)
{
	unsigned day, month, century, year, hour, minute, second;
	if (s == NULL || strlen(s) != 29 || memcmp(s + 3, ", ", 2) != 0 ||
	    strcmp(s + 25, " GMT") != 0)
		return false;
	if (s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[19] != ':' || s[22] != ':')
		return false;
	if (!two_digits(s + 5, 31, &day) || day == 0 || !month_index(s + 8, &month) ||
	    !two_digits(s + 12, 22, &century) || !two_digits(s + 14, 99, &year) ||
	    !two_digits(s + 17, 23, &hour) || !two_digits(s + 20, 59, &minute) ||
	    !two_digits(s + 23, 60, &second))
		return false;
	int64_t full = century * 100 + year;
	if (full < 1900 || full > 2200)
		return false;
	*seconds = ((days_before(full, month, day) * 24 + hour) * 60 + minute) * 60 + second;
	return true;
}

bool reply_mtime(const struct reply *r, int64_t *ns)
{
	int64_t seconds;
	if (!date_parse(r->modified, &seconds))
		return false;
	*ns = seconds * INT64_C(1000000000);
	return true;
}

unsigned reply_retry_after(const struct reply *r, int64_t now_s)
{
	const char *s = r->retry_after;
	uint64_t number;
	int64_t until;
	if (s == NULL)
		return 0;
	if (whole_number(s, s + strlen(s), &number))
		return (unsigned)MIN(number, RETRY_AFTER_MAX);
	if (!date_parse(s, &until))
		return 0;
	if (!date_parse(r->date, &now_s) && now_s <= 0)
		return 0;
	return until > now_s ? (unsigned)MIN(until - now_s, RETRY_AFTER_MAX) : 0;
}

bool reply_type_is(const struct reply *r, const char *type)
{
	if (r->type == NULL)
		return false;
	size_t length = strcspn(r->type, "; \t");
	return length == strlen(type) && g_ascii_strncasecmp(r->type, type, length) == 0;
}

bool reply_is_html(const struct reply *r)
{
	return reply_type_is(r, "text/html") || reply_type_is(r, "application/xhtml+xml");
}

bool reply_is_coded(const struct reply *r)
{
	return r->encoding != NULL && r->encoding[0] != '\0' &&
	       g_ascii_strcasecmp(r->encoding, "identity") != 0;
}
