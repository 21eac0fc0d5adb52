/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pre-content events, row by row: what one operation on a file causes, and how it ends. The same
 * program runs on a local file system with the kernel's events, and on a mount.
 * Shape:   one process has the handler, a child does the operations; between two of them they
 *          meet, so that each event belongs to one operation
 * Output:  a line each: "name | events | result"; an event is offset+count of bytes and its answer,
 *          * for one that differs (another mask, another process)
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

enum { SIZE = 300000, PAGE = 4096 };

struct row {
	const char *name;
	long (*run)(const char *path); /* ≥ 0, or -errno; in the child */
	uint32_t answers[4];           /* to its events, in order; 0: FAN_ALLOW from here on */
	void (*before)(int group, const char *path); /* in the handler's process; may be NULL */
	long (*prepare)(const char *path); /* in the child, before the marks; may be NULL */
};

extern const struct row rows[];
extern const unsigned row_count;

/* The descriptor that prepare() left open for run(). */
extern int kept;

/* By io_uring: as pread(2); -1 and errno. */
long uring_read(int fd, void *buffer, unsigned length, uint64_t offset);

long result(long r); /* of a call: -errno where it is -1 */
