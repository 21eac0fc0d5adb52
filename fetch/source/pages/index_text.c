/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/pages/index_private.h"
#include <string.h>
#include <time.h>

/* Y m d H M: number; b: month's name; a: weekday's; blank: one or more; else itself.
 * ":seconds", a fraction and a zone may follow each. */
static const char *const time_formats[] = {
        "d-b-Y H:M",    /* nginx */
        "Y-m-d H:M",    /* Apache */
        "Y-b-d H:M",    /* lighttpd */
        "Y-m-dTH:M",    /* ISO 8601: Caddy */
        "a, d b Y H:M", /* RFC 9110: nginx's JSON */
};

static bool number_read(const char **at, unsigned least, unsigned most, int *value)
{
	int n = 0;
	unsigned digits = 0;
	for (; digits < most && g_ascii_isdigit((*at)[digits]); digits++)
		n = n * 10 + ((*at)[digits] - '0');
	if (digits < least || g_ascii_isdigit((*at)[digits]))
		return false;
	*at += digits;
	*value = n;
	return true;
}

static bool month_read(const char **at, int *month)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
	for (int i = 0; i < 12; i++) {
		if (g_ascii_strncasecmp(*at, names + 3 * i, 3) == 0) {
			*at += 3;
			*month = i + 1;
			return true;
		}
	}
	return false;
}

static bool field_read(char field, const char **at, struct tm *tm)
{
	switch (field) {
	case 'Y':
		return number_read(at, 4, 4, &tm->tm_year);
	case 'm':
		return number_read(at, 2, 2, &tm->tm_mon);
	case 'd':
		return number_read(at, 1, 2, &tm->tm_mday);
	case 'H':
		return number_read(at, 2, 2, &tm->tm_hour);
	case 'M':
		return number_read(at, 2, 2, &tm->tm_min);
	case 'b':
		return month_read(at, &tm->tm_mon);
	case 'a':
		for (unsigned i = 0; i < 3; i++, (*at)++)
			if (!g_ascii_isalpha(**at))
				return false;
		return true;
	case ' ':
		if (**at != ' ')
			return false;
		*at += strspn(*at, " ");
		return true;
	default:
		return *(*at)++ == field;
	}
}

static int64_t fraction_read(const char **at)
{
	if (**at != '.' || !g_ascii_isdigit((*at)[1]))
		return 0;
	int64_t ns = 0, unit = 100000000;
	for ((*at)++; g_ascii_isdigit(**at); (*at)++, unit /= 10)
		ns += unit * (**at - '0');
	return ns;
}

/* Seconds east of UTC. *has_zone: the text has a zone. */
static int zone_read(const char **at, bool *has_zone)
{
	const char *p = *at;
	int hours, minutes, sign = *p == '-' ? -1 : 1;
	*has_zone = true;
	if (*p == 'Z') {
		(*at)++;
		return 0;
	}
	if (g_str_has_prefix(p, " GMT") || g_str_has_prefix(p, " UTC")) {
		*at += 4;
		return 0;
	}
	*has_zone = false;
	if (*p != '+' && *p != '-')
		return 0;
	p++;
	if (!number_read(&p, 2, 2, &hours) || *p++ != ':' || !number_read(&p, 2, 2, &minutes) ||
	    hours > 14 || minutes > 59)
		return 0;
	*has_zone = true;
	*at = p;
	return sign * (hours * 3600 + minutes * 60);
}

/* The offset of a local time; if it comes twice, when clocks go back, of the second one. */
static int zone_offset(GTimeZone *zone, int64_t local)
{
	int interval = g_time_zone_find_interval(zone, G_TIME_TYPE_STANDARD, local);
	if (interval < 0) /* a time that the clocks skipped */
		interval = g_time_zone_adjust_time(zone, G_TIME_TYPE_STANDARD, &local);
	return g_time_zone_get_offset(zone, interval);
}

static size_t format_match(const char *format, const char *text, GTimeZone *zone, int64_t *ns)
{
	const char *at = text;
	struct tm tm = {0};
	for (; *format != '\0'; format++)
		if (!field_read(*format, &at, &tm))
			return 0;
	if (*at == ':') {
		at++;
		if (!number_read(&at, 2, 2, &tm.tm_sec))
			return 0;
	}
	int64_t fraction = fraction_read(&at);
	bool has_zone;
	int east = zone_read(&at, &has_zone);
	if (*at != '\0' && *at != ' ')
		return 0;
	/* the range of 64 bits of nanoseconds, less the offset of a zone */
	if (tm.tm_year < 1900 || tm.tm_year > 2261 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
	    tm.tm_sec > 60)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int64_t local = timegm(&tm);
	if (zone != NULL && !has_zone)
		east = zone_offset(zone, local);
	*ns = (local - east) * 1000000000 + fraction;
	return at - text;
}

size_t index_time_parse(const char *text, GTimeZone *zone, int64_t *ns)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(time_formats); i++) {
		size_t used = format_match(time_formats[i], text, zone, ns);
		if (used > 0)
			return used;
	}
	return 0;
}

/* The unit after a number, 0 = what follows makes it no size. A unit apart from its number
 * ends in B: "7 K…" may be the start of a description. Moves *at past it. */
static uint64_t unit_read(const char **at, bool *plain)
{
	static const char prefixes[] = "KMGTPE";
	bool apart = **at == ' ';
	const char *p = *at + apart;
	const char *prefix = *p != '\0' ? strchr(prefixes, g_ascii_toupper(*p)) : NULL;
	uint64_t unit = 1;
	bool ends_in_b = false;
	*plain = prefix == NULL;
	if (prefix != NULL) {
		unit = UINT64_C(1) << (10 * (prefix - prefixes + 1));
		p += p[1] == 'i' ? 2 : 1;
	}
	if (*p == 'B' || *p == 'b') {
		ends_in_b = true;
		p += prefix == NULL && g_ascii_strncasecmp(p, "bytes", 5) == 0 ? 5 : 1;
	}
	if ((*p == '\0' || *p == ' ') && (ends_in_b || (prefix != NULL && !apart))) {
		*at = p;
		return unit;
	}
	*plain = true;
	return apart || **at == '\0' ? 1 : 0;
}

size_t index_size_parse(const char *text, struct index_size *size)
{
	const char *at = text;
	uint64_t whole = 0, fraction = 0, scale = 1;
	bool plain;
	if (!g_ascii_isdigit(*at))
		return 0;
	for (; g_ascii_isdigit(*at); at++) {
		if (whole > INT64_MAX / 10 - 1)
			return 0;
		whole = whole * 10 + (*at - '0');
	}
	if (*at == '.') {
		for (at++; g_ascii_isdigit(*at) && scale < 1000000; at++, scale *= 10)
			fraction = fraction * 10 + (*at - '0');
		if (scale == 1)
			return 0;
	}
	uint64_t unit = unit_read(&at, &plain);
	if (unit == 0 || (plain && scale > 1) || whole > INT64_MAX / unit - 1)
		return 0;
	size->bytes = whole * unit + (uint64_t)((double)fraction / (double)scale * (double)unit);
	size->step = MAX(unit / scale, 1);
	size->exact = plain;
	return at - text;
}

size_t index_text_append(char *to, size_t length, size_t capacity, const char *from, size_t count)
{
	for (size_t i = 0; i < count && length + 1 < capacity; i++) {
		char c = from[i];
		if (c == '\xc2' && i + 1 < count && from[i + 1] == '\xa0') {
			c = ' ';
			i++;
		}
		if (g_ascii_isspace(c) || g_ascii_iscntrl(c))
			c = ' ';
		if (c != ' ' || (length > 0 && to[length - 1] != ' '))
			to[length++] = c;
	}
	to[length] = '\0';
	return length;
}

void index_ascii_append(GString *to, const char *from, size_t count)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *end = from + count;
	while (from < end) {
		const char *run = from;
		while (from < end && (signed char)*from > 0)
			from++;
		g_string_append_len(to, run, from - run);
		for (; from < end && (signed char)*from <= 0; from++) {
			unsigned char c = *from;
			char escaped[] = {'%', digits[c >> 4], digits[c & 15]};
			g_string_append_len(to, escaped, sizeof escaped);
		}
	}
}

/* Quotes are not parsed quite as by libxml2: hence two bounds, the second without them. */
#define ATTRIBUTES_MAX 512
#define WORDS_MAX 4096

bool index_tag_check(struct index_tag *tag, const char *text, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char c = text[i];
		if (!tag->open) {
			*tag = (struct index_tag){.angle = c == '<',
			                          .open = tag->angle && g_ascii_isalpha(c)};
			continue;
		}
		bool blank = c == ' ' || (c >= '\t' && c <= '\r');
		bool quote = c == '"' || c == '\'';
		if (quote && (tag->quote == '\0' || tag->quote == c))
			tag->quote = tag->quote == '\0' ? c : '\0';
		else if (c == '>' && tag->quote == '\0')
			tag->open = false;
		if (quote || (blank && !tag->blank)) {
			tag->words++;
			tag->attributes += tag->quote == '\0';
		}
		tag->blank = blank;
		if (tag->attributes > ATTRIBUTES_MAX || tag->words > WORDS_MAX)
			return false;
	}
	return true;
}
