/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The map of a file of several chunks, on disk: STATE/maps, format.h. Written with pwrite and
 * never mapped: on a full disk a page fault is SIGBUS.
 * Trust:  comes from outside: a header that does not repeat the record is -ESTALE
 * Errors: -errno
 */
#pragma once
#include <glib.h>
#include "fetch/store/object/map.h"
#include "fetch/store/object/record.h"

int mapfile_create(int state, const struct record *r); /* a descriptor */
/* -ESTALE: missing, cut short, or not bound to the record. */
int mapfile_open(int state, const struct record *r);
/* After a machine crash: the map was created, but never reached the disk, and tells of no local
 * chunk. Its content was not durable either. */
bool mapfile_is_lost(int state, const struct record *r);
/* Adds the chunks recorded as local or present (with `doubt`: as doubtful) in `epoch`. A damaged
 * slot becomes that of an absent chunk, or it is -EUCLEAN where the chunk may be local
 * (RECORD_LIMIT). *dirty: set if a chunk is dirty in `epoch`. */
int mapfile_load(int fd, const struct record *r, uint32_t epoch, bool doubt, struct map *m,
                 bool *dirty);
int mapfile_read(int fd, uint64_t chunk, uint64_t *hash);
/* `id`: of the map's record. */
int mapfile_write(int fd, uint64_t id, uint64_t chunk, uint64_t hash, uint32_t mark);
/* The hash stays. */
int mapfile_mark(int fd, uint64_t id, uint64_t chunk, uint32_t mark);
/* Appends the chunks (uint64_t) that have `mark`, in an intact slot. */
int mapfile_find(int fd, uint64_t id, uint32_t mark, GArray *out);
/* Writes the header again: the record's version has become known, or its inode number. */
int mapfile_pin(int fd, const struct record *r);
/* Every slot that is not zero, of a map whose header may be damaged. `intact`: its check fits;
 * unless `strict`, slots of an earlier version may have none. Returns the number of damaged slots.
 */
typedef void (*mapfile_each)(uint64_t chunk, const struct map_slot *slot, bool intact, void *user);
int64_t mapfile_foreach(int fd, const struct record *r, bool strict, mapfile_each each, void *user);
/* Is `check` that of such a slot? */
bool mapfile_fits(uint64_t id, uint64_t chunk, uint64_t hash, uint32_t mark, uint32_t check);
/* Writes a damaged header anew, for a map all of whose slots are strictly intact. */
int mapfile_mend(int fd, const struct record *r);
/* Is the file as long as the map of the record? 1, 0 or -errno. */
int mapfile_is_whole(int fd, const struct record *r);
/* The header at `data` repeats the record. */
bool mapfile_check(const void *data, size_t length, const struct record *r);
