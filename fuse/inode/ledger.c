/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/ledger.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEDGER_BYTES ((size_t)LEDGER_ENTRIES * sizeof(struct ledger_entry))

int ledger_open(struct ledger *l)
{
	int fd = memfd_create("lacunafs-ledger", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, LEDGER_BYTES) < 0) { /* RLIMIT_FSIZE */
		close(fd);
		fd = -1;
	}
	int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *p = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED) {
		int err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	*l = (struct ledger){.fd = fd, .entries = p};
	return 0;
}

void ledger_close(struct ledger *l)
{
	munmap(l->entries, LEDGER_BYTES);
	if (l->fd >= 0)
		close(l->fd);
}
