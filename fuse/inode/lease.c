/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/lease.h"
#include <errno.h>
#include <fcntl.h>

enum lease lease_probe(int fd, bool any)
{
	if (fcntl(fd, F_SETLEASE, any ? F_WRLCK : F_RDLCK) < 0)
		return errno == EAGAIN ? LEASE_HELD : LEASE_UNKNOWN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return LEASE_FREE;
}
