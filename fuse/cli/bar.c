/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <glib.h>
#include <langinfo.h>
#include <string.h>
#include <sys/ioctl.h>
#include "fuse/cli/bar.h"

static const char *slice_symbol(uint8_t value, bool utf8)
{
	if (value == 0)
		return utf8 ? "░" : ".";
	if (value == 255)
		return utf8 ? "█" : "#";
	if (!utf8)
		return ":";
	return value < 128 ? "▒" : "▓";
}

char *bar_draw(const uint8_t *slices, size_t count, bool utf8)
{
	GString *line = g_string_sized_new(count * 3 + 1);
	for (size_t i = 0; i < count; i++)
		g_string_append(line, slice_symbol(slices[i], utf8));
	return g_string_free(line, FALSE);
}

char *bar_progress(uint64_t done, uint64_t total, unsigned columns, bool utf8)
{
	if (done > total)
		done = total;
	double share = total ? (double)done / (double)total : 1;
	unsigned full = (unsigned)(share * columns);
	if (done == total)
		full = columns;
	else if (full == columns && columns)
		full--;
	GString *line = g_string_sized_new(columns * 3 + 1);
	for (unsigned i = 0; i < columns; i++)
		g_string_append(line, slice_symbol(i < full ? 255 : 0, utf8));
	return g_string_free(line, FALSE);
}

unsigned bar_columns(int fd, unsigned otherwise)
{
	struct winsize size = {0};
	if (ioctl(fd, TIOCGWINSZ, &size) != 0)
		return otherwise;
	return size.ws_col ? size.ws_col : 80;
}

bool bar_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
