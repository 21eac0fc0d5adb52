/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The record of a local file: its xattr, format.h.
 * Trust:  comes from outside: everything is checked before use
 * Errors: -ENODATA no record, -ESTALE damaged, -EOPNOTSUPP written by a later version
 */
#pragma once
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include "fetch/store/disk/format.h"

struct record {
	uint8_t flags, chunk_shift;
	uint32_t epoch;
	uint64_t id, ino, size;
	int64_t mtime_ns;
	uint64_t version, hash, remote_limit;
};

size_t record_encode(const struct record *r, struct record_disk *out); /* its length */
int record_decode(const void *data, size_t length, struct record *out);
int record_read(int fd, struct record *out);
int record_write(int fd, const struct record *r);
/* 0 for an empty file; > CHUNKS_MAX: too many. */
uint64_t record_chunks(const struct record *r);
/* Length of `chunk`, which exists. */
uint64_t record_chunk_length(const struct record *r, uint64_t chunk);
/* A kept file of one absent chunk: the file has no data, whatever its length. */
bool record_is_blank(const struct record *r);
