/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The data that a handler wrote to a scratch file: its extents, found by SEEK_DATA and SEEK_HOLE. A
 * scratch file is on a file system that reports holes (store_scratch()), and only the handler
 * writes to it. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct extent {
	uint64_t offset, end; /* bytes */
};

/* The first extent of data in [from, size) that ends after `from`. false: none. */
bool supplied_next(int fd, uint64_t from, uint64_t size, struct extent *out);
/* The whole extent that contains [offset, end). */
bool supplied_around(int fd, uint64_t offset, uint64_t end, uint64_t size, struct extent *out);
/* All extents: of struct extent. Caller unrefs. */
GArray *supplied_list(int fd, uint64_t size);
/* Punches out everything outside `extents`: a page read through a mapping looks like a written
 * one. */
void supplied_limit(int fd, uint64_t size, const GArray *extents);
/* Reads all of `length`: 0 or a positive errno. */
int supplied_read(int fd, uint64_t offset, void *buffer, size_t length);
