/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/human.h"

char *human_size(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	if (bytes < 1000)
		return g_strdup_printf("%u B", (unsigned)bytes);
	double value = (double)bytes / 1024;
	unsigned unit = 0;
	while (value >= 999.5 && unit + 1 < G_N_ELEMENTS(units)) {
		value /= 1024;
		unit++;
	}
	return g_strdup_printf(value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

char *human_count(uint64_t n)
{
	char digits[32];
	int length = g_snprintf(digits, sizeof(digits), "%" G_GUINT64_FORMAT, n);
	GString *text = g_string_new(NULL);
	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			g_string_append_c(text, ',');
		g_string_append_c(text, digits[i]);
	}
	return g_string_free(text, FALSE);
}

char *human_duration(double seconds)
{
	if (!(seconds > 0))
		seconds = 0;
	if (seconds < 9.95)
		return g_strdup_printf("%.1f s", seconds);
	if (seconds > 1e15)
		return g_strdup("forever");
	uint64_t s = (uint64_t)(seconds + 0.5);
	if (s < 60)
		return g_strdup_printf("%u s", (unsigned)s);
	if (s < 3600)
		return g_strdup_printf("%u min %u s", (unsigned)(s / 60), (unsigned)(s % 60));
	if (s < 86400)
		return g_strdup_printf("%u h %u min", (unsigned)(s / 3600),
		                       (unsigned)(s / 60 % 60));
	return g_strdup_printf("%" G_GUINT64_FORMAT " d %u h", s / 86400,
	                       (unsigned)(s / 3600 % 24));
}

bool human_unsafe(gunichar c)
{
	return g_unichar_iscntrl(c) || c == 0x061c || c == 0x200e || c == 0x200f ||
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x2028 ||
	       c == 0x2029;
}

char *human_name(const char *bytes)
{
	GString *text = g_string_new(NULL);
	for (const char *p = bytes; *p;) {
		gunichar c = g_utf8_get_char_validated(p, -1);
		if (c >= 0x110000) { /* not UTF-8, or cut off */
			g_string_append_printf(text, "\\x%02x", (unsigned char)*p++);
			continue;
		}
		if (!human_unsafe(c))
			g_string_append_unichar(text, c);
		else
			g_string_append_printf(text, c < 0x80 ? "\\x%02x" : "\\u%04x", c);
		p = g_utf8_next_char(p);
	}
	return g_string_free(text, FALSE);
}

static unsigned columns_of(gunichar c)
{
	return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

unsigned human_width(const char *text)
{
	unsigned width = 0;
	for (const char *p = text; *p; p = g_utf8_next_char(p))
		width += columns_of(g_utf8_get_char(p));
	return width;
}

char *human_fit(const char *text, unsigned columns, bool right)
{
	GString *out = g_string_new(NULL);
	unsigned width = 0;
	for (const char *p = text; *p; p = g_utf8_next_char(p)) {
		gunichar c = g_utf8_get_char(p);
		if (width + columns_of(c) > columns)
			break;
		width += columns_of(c);
		g_string_append_unichar(out, c);
	}
	for (; width < columns; width++)
		g_string_insert_c(out, right ? 0 : -1, ' ');
	return g_string_free(out, FALSE);
}
