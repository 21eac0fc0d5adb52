/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/brought.h"
#include <errno.h>
#include <glib.h>
#include <unistd.h>

bool brought_next(int fd, uint64_t from, uint64_t size, struct extent *out)
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

bool brought_around(int fd, uint64_t offset, uint64_t end, uint64_t size, struct extent *out)
{
	struct extent e, found = {0};
	for (uint64_t at = 0; brought_next(fd, at, size, &e) && e.offset <= offset; at = e.end)
		found = e;
	if (found.end < end)
		return false;
	*out = found;
	return true;
}

int brought_read(int fd, uint64_t offset, void *buffer, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = pread(fd, (char *)buffer + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO; /* it was cut */
		done += (size_t)n;
	}
	return 0;
}
