/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What somebody put into a scratch file: its extents, found by their holes. A scratch file is on a
 * file system that tells them (store_scratch()), and nobody but who brings bytes writes to it. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct extent {
	uint64_t offset, end; /* bytes */
};

/* The first extent of data in [from, size) that ends after `from`. false: none. */
bool brought_next(int fd, uint64_t from, uint64_t size, struct extent *out);
/* The extent that has all of [offset, end), as large as it is. */
bool brought_around(int fd, uint64_t offset, uint64_t end, uint64_t size, struct extent *out);
/* All extents: of struct extent. Caller unrefs. */
GArray *brought_list(int fd, uint64_t size);
/* What is none of these is made a hole again: a page of memory that is read through a mapping looks
 * like one that was written. */
void brought_limit(int fd, uint64_t size, const GArray *extents);
/* Whole reads: 0 or a positive errno. */
int brought_read(int fd, uint64_t offset, void *buffer, size_t length);
