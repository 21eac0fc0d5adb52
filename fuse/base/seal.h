/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Seals: what may no longer be done to a file, by anybody, ever.
 * Shape:   a set of LACUNA_SEAL_*, which only grows; 0: none
 * Units:   bytes
 * Locking: none of its own: the inode's, held from the check to the end of what it allows
 * Errors:  0 or -errno (EPERM), and then no output was touched. Only seal_parse() has a
 *          GError
 * Source:  memfd_create(2), fcntl(2), mm/memfd.c and mm/shmem.c of Linux 6.18
 *
 * The filler is let through: what it writes is the sealed content. A sealed file keeps the
 * version it has, and stays lazy.
 *
 * mmap(2) sends no request, so where memfd looks at the mappings, opening has to do:
 *   - O_RDWR is refused on a file sealed with WRITE or FUTURE_WRITE, where memfd refuses
 *     mmap(PROT_WRITE) only: we cannot clear VM_MAYWRITE, so such a descriptor could be mapped
 *     shared and writable, or be made so by mprotect(2). From an O_RDONLY one the kernel itself
 *     refuses that (EACCES) and allows MAP_SHARED read-only, in every I/O mode
 *   - O_WRONLY is allowed: it cannot be mapped at all, its writes come to us, ftruncate(2) is
 *     as free as memfd's. Refused alternative: all write opens, which leaves no descriptor to
 *     truncate or to add further seals by
 *   - a write in passthrough does not come to us: seal_needs_writes()
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
	/* A shared mapping may live that was made from an O_RDWR descriptor, whatever its
	 * protection. Cached: write_handles_may_be_mapped(). Passthrough: the lease probe. */
	bool mapped;
	/* Open for writing in passthrough. */
	bool unseen;
};

/* Adds `wanted` to *seals. EPERM, EINVAL, EPERM, EBUSY, in this order (lacuna/ioctl.h). */
int seal_add(uint32_t *seals, uint32_t wanted, const struct seal_facts *facts);
/* Opened for writing, or for ioctls with permission to write (access mode 3). */
bool seal_flags_writable(int open_flags);

/* May it be opened so? (O_TRUNC is a truncation, which comes by itself.) */
int seal_check_open(uint32_t seals, int open_flags);
/* How much of a write is allowed: all of it, or what lies before the last page boundary within
 * the file. `writeback`: the pages of a mapping, which FUTURE_WRITE does not concern. Also for
 * the destination of copy_file_range(2). 0 bytes are always allowed. */
int seal_check_write(uint32_t seals, uint64_t offset, uint64_t length, uint64_t size,
                     bool writeback, uint64_t *allowed);
int seal_check_truncate(uint32_t seals, uint64_t old_size, uint64_t new_size);
/* `mode`: FALLOC_FL_*. Beyond memfd's: zeroing is a write, collapsing writes and shrinks,
 * inserting writes and grows, what is not known does all of it. */
int seal_check_fallocate(uint32_t seals, int mode, uint64_t offset, uint64_t length, uint64_t size);
int seal_check_chmod(uint32_t seals, uint32_t old_mode, uint32_t new_mode);

/* Every write has to come to us: no descriptor for writing in plain passthrough. Where readers
 * hold the inode in passthrough, DIRECT_IO | PASSTHROUGH brings write(2) to us, and leaves
 * mappings, which grow nothing, on the local file. */
bool seal_needs_writes(uint32_t seals);
/* None of them is allowed: the descriptor had best be DIRECT_IO, else the kernel changes its page
 * cache first, and mappings show what was refused. (O_RDWR is refused by itself.) */
bool seal_refuses_writes(uint32_t seals);

/* "write,shrink", in any order, at least one. FETCH_USAGE. */
bool seal_parse(const char *text, uint32_t *seals, GError **error);
/* In the order of the bits; "": none. Caller frees. */
char *seal_format(uint32_t seals);
