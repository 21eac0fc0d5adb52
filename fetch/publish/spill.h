/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the walk of a tree found, on the disk: the builder's memory does not grow with the tree.
 * Shape:   spill = directory*, in the order of the walk (a directory before what is below it)
 *          directory = struct spill_directory path NUL inode-xattrs entry*
 *          entry     = struct spill_entry name NUL xattrs [target] struct spill_run*
 *          each struct begins at a multiple of 8; the entries ascend by name
 * Units:   bytes of the machine that wrote it: it lives as long as one publish
 * Owns:    an unnamed file
 * Errors:  LOCAL_ERROR
 */
#pragma once
#include <stdint.h>
#include "fetch/base/error.h"

struct spill_inode {
	uint64_t nid;
	uint64_t size;
	int64_t seconds;
	uint32_t nanoseconds;
	uint32_t mode, uid, gid;
	uint32_t nlink;
	uint32_t data;       /* device number as EROFS has it; chunk format; first of the blocks of
	                      * directories and long targets */
	uint32_t identity;   /* i_ino */
	uint32_t xattr_size; /* of the body */
};

struct spill_directory {
	struct spill_inode inode;
	uint32_t number, parent;
	uint32_t entries;
	uint32_t path_size; /* with its NUL */
	uint64_t bytes;     /* of all that follows this struct */
};

enum spill_kind { SPILL_NODE, SPILL_DIRECTORY, SPILL_LINK };

struct spill_entry {
	struct spill_inode inode; /* SPILL_LINK: nid and mode alone; SPILL_DIRECTORY: mode alone */
	/* of the file when it was seen, to tell if it changes: */
	uint64_t ino;
	int64_t ctime_seconds;
	uint32_t ctime_nanoseconds;
	uint32_t number; /* SPILL_DIRECTORY: of it; else: in the table of links, SPILL_NO_LINK */
	uint16_t kind;   /* enum spill_kind */
	uint16_t name_size, target_size; /* with their NUL; 0: no target */
	uint16_t reserved;
	uint32_t runs;
	uint32_t reserved2;
};
#define SPILL_NO_LINK UINT32_MAX

/* Chunks with data, one behind the other. */
struct spill_run {
	uint32_t chunk, count;
	uint32_t block, digest;
	uint64_t length; /* bytes; the last chunk of the file may be short */
	uint32_t frame;  /* INDEX_FRAME_NONE: not in a pack */
	uint32_t place;  /* in the frame's content */
};

struct spill;

/* In the directory `dir`. */
struct spill *spill_new(int dir, GError **error);
void spill_free(struct spill *s);
bool spill_add(struct spill *s, const void *data, size_t size, GError **error);
bool spill_pad(struct spill *s, GError **error); /* to a multiple of 8 */
uint64_t spill_size(const struct spill *s);
/* Overwrites what was added. */
bool spill_set(struct spill *s, uint64_t at, const void *data, size_t size, GError **error);
/* Ends the writing, and maps all of it. */
bool spill_map(struct spill *s, GError **error);

/* The directories in order: NULL for the first; NULL at the end. What is far behind is no longer
 * mapped, until it is used again: 10,000,000 files spill 1.5 GB. */
const struct spill_directory *spill_next(struct spill *s, const struct spill_directory *d);
const char *spill_path(const struct spill_directory *d);
const void *spill_xattrs(const struct spill_directory *d);
/* Its entries in order, as above. */
const struct spill_entry *spill_entry_next(const struct spill_directory *d,
                                           const struct spill_entry *e);
const char *spill_entry_name(const struct spill_entry *e);
const void *spill_entry_xattrs(const struct spill_entry *e);
const char *spill_entry_target(const struct spill_entry *e);
const struct spill_run *spill_entry_runs(const struct spill_entry *e);
