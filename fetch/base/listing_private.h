/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The blob of a listing, as it lies in memory and in the store; private to listing*.c.
 *
 *   blob    = header entry*count by_name*count heap
 *   entry   = struct listing_entry, cookies strictly rising
 *   by_name = uint32 index of an entry, strictly rising by (XXH3-64 of the name, name)
 *   heap    = (name NUL [target NUL] [xattrs])*count validator NUL, in order of the
 *             entries and without gaps
 *   xattrs  = size names_size (name NUL)* (value_size value)*; uint32 each, unaligned;
 *             size counts all that follows it
 *
 * Without gaps, every byte has one owner: one pass checks the whole blob, in time
 * linear to its length whatever its header claims.
 * By hash: a million names sort in 0.2 s whatever they have in common, and the order is
 * total since names are unique.
 * Bytes are in the machine's order; the magic does not match on another.
 */
#pragma once
#include "fetch/base/listing.h"
#include "fetch/base/lock.h"

#define LISTING_MAGIC UINT64_C(0x3154534c4e43414c) /* "LACNLST1" */
#define LISTING_BLOB_MAX (UINT64_C(1) << 31)
#define LISTING_TARGET_MAX 4095
#define LISTING_VALIDATOR_MAX 65535

struct listing_header {
	uint64_t magic;
	uint64_t checksum; /* XXH3-64 of the bytes after this field; only in the store */
	uint64_t length;   /* of the blob */
	int64_t checked_ns;
	uint32_t count;
	uint32_t last_cookie; /* highest ever assigned: none is assigned twice */
	uint32_t validator_off;
	uint32_t reserved; /* 0 */
};
G_STATIC_ASSERT(sizeof(struct listing_header) == 48);
G_STATIC_ASSERT(sizeof(struct listing_entry) == 72);

struct listing {
	unsigned refs; /* atomic */
	/* guards size, mtime_ns and flags of the entries, and checked_ns, against
	 * listing_to_bytes() and listing_builder_finish(), which the listing's holder does not
	 * serialise */
	struct mutex lock;
	union {
		char *blob; /* owned */
		struct listing_header *header;
	};
	struct listing_entry *entries; /* into blob, as the next */
	uint32_t *by_name;
};

static inline uint64_t listing_heap_offset(uint32_t count)
{
	return sizeof(struct listing_header) +
	       (uint64_t)count * (sizeof(struct listing_entry) + sizeof(uint32_t));
}

/* Takes the blob, whose header must be complete. */
struct listing *listing_wrap(char *blob);
/* NULL: a valid file name. Else the reason (static). */
const char *listing_name_refused(const char *name, size_t length);
bool listing_type_known(uint32_t mode);
/* Hash of size and time as the source listed them, for later comparison. */
uint64_t listing_entry_hash(const struct listing_entry *e);
/* Length of the packed xattrs at `data`, 0 where they are invalid within `size`. */
size_t listing_xattrs_check(const char *data, size_t size);
