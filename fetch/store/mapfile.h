/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The map of a file of several chunks, on disk: STATE/maps, format.h. Written with pwrite and
 * never mapped: on a full disk a page fault is SIGBUS.
 * Trust:  comes from outside: a header that does not repeat the record is -ESTALE
 * Errors: -errno
 */
#pragma once
#include "fetch/store/map.h"
#include "fetch/store/record.h"

int mapfile_create(int state, const struct record *r); /* a descriptor */
/* -ESTALE: none there, or not bound to the record. */
int mapfile_open(int state, const struct record *r);
/* Adds what is recorded as present, or, with `doubt`, as doubtful. */
int mapfile_load(int fd, const struct record *r, bool doubt, struct map *m);
int mapfile_read(int fd, uint64_t chunk, uint64_t *hash);
int mapfile_write(int fd, uint64_t chunk, uint64_t hash);
/* The header at `data` repeats the record. */
bool mapfile_check(const void *data, size_t length, const struct record *r);
