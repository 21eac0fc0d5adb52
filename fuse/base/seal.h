/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Seals: permanent restrictions on a file, for every user.
 * Shape:   a set of LACUNA_SEAL_*, which only grows; 0: none
 * Units:   bytes
 * Locking: none of its own: the inode's, held from the check to the end of the allowed operation
 * Errors:  0 or -errno (EPERM), and then no output was touched. Only seal_parse() has a
 *          GError
 * Source:  memfd_create(2), fcntl(2), mm/memfd.c and mm/shmem.c of Linux 6.18
 *
 * Fetches pass the seals: the data they write is the sealed content. A sealed file keeps its
 * version, and stays lazy.
 *
 * mmap(2) sends no request, so the checks that memfd does on mappings are done at open:
 *   - O_RDWR is refused on a file sealed with WRITE or FUTURE_WRITE, where memfd refuses
 *     mmap(PROT_WRITE) only: a FUSE server cannot clear VM_MAYWRITE, so such a descriptor could be
 *     mapped shared and writable, or be made so by mprotect(2). For an O_RDONLY descriptor the
 *     kernel itself refuses that (EACCES) and allows MAP_SHARED read-only, in every I/O mode
 *   - O_WRONLY is allowed: it cannot be mapped, its writes reach the daemon, ftruncate(2) is
 *     as free as memfd's. Refused alternative: all write opens, which leaves no descriptor to
 *     truncate or to add further seals by
 *   - a write in passthrough does not reach the daemon: seal_needs_writes()
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "lacuna/ioctl.h"

#define SEAL_ALL 0x3fu
#define SEAL_WRITES (LACUNA_SEAL_WRITE | LACUNA_SEAL_FUTURE_WRITE)

struct seal_facts {
	uint32_t mode; /* the file's, permission bits */
	bool writable; /* seal_flags_writable() of the descriptor; the control socket: may write */
	bool sealable; /* a regular file */
	/* A shared mapping of an O_RDWR descriptor may exist, whatever its
	 * protection. Cached: write_handles_may_be_mapped(). Passthrough: the lease probe. */
	bool mapped;
	/* Open for writing in passthrough. */
	bool unseen;
};

/* Adds `wanted` to *seals. EPERM, EINVAL, EPERM, EBUSY, in this order (lacuna/ioctl.h). */
int seal_add(uint32_t *seals, uint32_t wanted, const struct seal_facts *facts);
/* Opened for writing, or for ioctls with permission to write (access mode 3). */
bool seal_flags_writable(int open_flags);

/* May the file be opened with these flags? (O_TRUNC arrives as a truncation of its own.) */
int seal_check_open(uint32_t seals, int open_flags);
/* How much of a write is allowed: all of it, or the part before the last page boundary within
 * the file. `writeback`: pages of a mapping, which FUTURE_WRITE does not restrict. Also for
 * the destination of copy_file_range(2). 0 bytes are always allowed. */
int seal_check_write(uint32_t seals, uint64_t offset, uint64_t length, uint64_t size,
                     bool writeback, uint64_t *allowed);
int seal_check_truncate(uint32_t seals, uint64_t old_size, uint64_t new_size);
/* `mode`: FALLOC_FL_*. Beyond memfd's: zeroing is a write, collapsing writes and shrinks,
 * inserting writes and grows, an unknown mode does all of these. */
int seal_check_fallocate(uint32_t seals, int mode, uint64_t offset, uint64_t length, uint64_t size);
int seal_check_chmod(uint32_t seals, uint32_t old_mode, uint32_t new_mode);

/* Every write must reach the daemon: no descriptor for writing in plain passthrough. Where readers
 * hold the inode in passthrough, DIRECT_IO | PASSTHROUGH sends write(2) to the daemon, and leaves
 * mappings, which cannot grow the file, on the local file. */
bool seal_needs_writes(uint32_t seals);
/* No write is allowed: the descriptor should be DIRECT_IO, else the kernel changes its page
 * cache first, and mappings show the refused data. (O_RDWR is refused at open.) */
bool seal_refuses_writes(uint32_t seals);

/* "write,shrink", in any order, at least one. FETCH_USAGE. */
bool seal_parse(const char *text, uint32_t *seals, GError **error);
/* In the order of the bits; "": none. Caller frees. */
char *seal_format(uint32_t seals);
