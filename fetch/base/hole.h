/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#pragma once
#include <stdbool.h>
#include <unistd.h>

/* Is there a hole in [at, end)? A file system without holes reports none. */
static inline bool hole_before(int fd, off_t at, off_t end)
{
	off_t hole = lseek(fd, at, SEEK_HOLE);

	return hole >= 0 && hole < end;
}
