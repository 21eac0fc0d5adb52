/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/supplied.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define WHOLE UINT64_C(65536) /* no page is larger */

bool supplied_next(int fd, uint64_t from, uint64_t size, struct extent *out)
{
	off_t data = from < size ? lseek(fd, (off_t)from, SEEK_DATA) : -1;
	if (data < 0 || (uint64_t)data >= size)
		return false;
	off_t hole = lseek(fd, data, SEEK_HOLE);
	if (hole < data)
		return false;
	*out = (struct extent){(uint64_t)data, MIN((uint64_t)hole, size)};
	return true;
}

bool supplied_around(int fd, uint64_t offset, uint64_t end, uint64_t size, struct extent *out)
{
	struct extent e, found = {0};
	for (uint64_t at = 0; supplied_next(fd, at, size, &e) && e.offset <= offset; at = e.end)
		found = e;
	if (found.end < end)
		return false;
	*out = found;
	return true;
}

GArray *supplied_list(int fd, uint64_t size)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct extent e = {0};
	while (supplied_next(fd, e.end, size, &e))
		g_array_append_val(list, e);
	return list;
}

static void punch(int fd, uint64_t from, uint64_t end)
{
	if (from < end && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
	                            (off_t)(end - from)) != 0)
		g_warning("cannot punch holes into a scratch file: %s", g_strerror(errno));
}

void supplied_limit(int fd, uint64_t size, const GArray *extents)
{
	uint64_t at = 0;
	for (guint n = 0; n < extents->len; n++) {
		const struct extent *e = &g_array_index(extents, struct extent, n);
		punch(fd, at, e->offset);
		at = e->end;
	}
	punch(fd, at, at < size ? size + WHOLE : at); /* a partial page would only be zeroed */
}

int supplied_read(int fd, uint64_t offset, void *buffer, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO; /* the file was truncated */
		done += (size_t)n;
	}
	return 0;
}
