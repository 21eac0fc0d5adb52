/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/object/record.h"
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#define LENGTH_PLAIN offsetof(struct record_disk, remote_limit)

size_t record_encode(const struct record *r, struct record_disk *out)
{
	*out = (struct record_disk){
	        .format = STORE_FORMAT,
	        .flags = r->flags,
	        .chunk_shift = r->chunk_shift,
	        .epoch = GUINT32_TO_LE(r->epoch),
	        .id = GUINT64_TO_LE(r->id),
	        .ino = GUINT64_TO_LE(r->ino),
	        .size = GUINT64_TO_LE(r->size),
	        .mtime_ns = GINT64_TO_LE(r->mtime_ns),
	        .version = GUINT64_TO_LE(r->version),
	        .hash = GUINT64_TO_LE(r->hash),
	        .remote_limit = GUINT64_TO_LE(r->remote_limit),
	};
	return r->flags & RECORD_LIMIT ? sizeof *out : LENGTH_PLAIN;
}

static int record_check(const struct record *r)
{
	uint64_t chunks;

	if (r->chunk_shift < CHUNK_SHIFT_MIN || r->chunk_shift > CHUNK_SHIFT_MAX)
		return -ESTALE;
	if (r->id == 0 || r->epoch == 0 || r->size > INT64_MAX)
		return -ESTALE;
	chunks = record_chunks(r);
	if (chunks > CHUNKS_MAX || (chunks != 1 && r->hash != 0))
		return -ESTALE;
	if (chunks == 1 && (r->flags & RECORD_COMPLETE) && !(r->flags & RECORD_LOCAL) &&
	    r->hash == 0)
		return -ESTALE;
	if ((r->flags & RECORD_LIMIT) &&
	    (!(r->flags & RECORD_KEPT) || (r->flags & RECORD_COMPLETE) || chunks < 2 ||
	     r->remote_limit > r->size))
		return -ESTALE;
	return r->flags & ~(RECORD_COMPLETE | RECORD_LOCAL | RECORD_KEPT | RECORD_LIMIT)
	               ? -EOPNOTSUPP
	               : 0;
}

int record_decode(const void *data, size_t length, struct record *out)
{
	struct record_disk d = {0};
	struct record r;
	int err;

	if (length != LENGTH_PLAIN && length != sizeof d)
		return -ESTALE;
	memcpy(&d, data, length);
	if (d.format != STORE_FORMAT || d.reserved != 0)
		return -ESTALE;
	if (((d.flags & RECORD_LIMIT) != 0) != (length == sizeof d))
		return -ESTALE;
	r = (struct record){
	        .flags = d.flags,
	        .chunk_shift = d.chunk_shift,
	        .epoch = GUINT32_FROM_LE(d.epoch),
	        .id = GUINT64_FROM_LE(d.id),
	        .ino = GUINT64_FROM_LE(d.ino),
	        .size = GUINT64_FROM_LE(d.size),
	        .mtime_ns = GINT64_FROM_LE(d.mtime_ns),
	        .version = GUINT64_FROM_LE(d.version),
	        .hash = GUINT64_FROM_LE(d.hash),
	        .remote_limit = GUINT64_FROM_LE(d.remote_limit),
	};
	err = record_check(&r);
	if (err == 0)
		*out = r;
	return err;
}

int record_read(int fd, struct record *out)
{
	char data[sizeof(struct record_disk) + 1];
	ssize_t n = fgetxattr(fd, RECORD_XATTR, data, sizeof data);

	if (n < 0)
		return errno == ERANGE ? -ESTALE : errno == EOPNOTSUPP ? -ENODATA : -errno;
	return record_decode(data, (size_t)n, out);
}

int record_write(int fd, const struct record *r)
{
	struct record_disk d;
	size_t length = record_encode(r, &d);

	return fsetxattr(fd, RECORD_XATTR, &d, length, 0) < 0 ? -errno : 0;
}

uint64_t record_chunks(const struct record *r)
{
	return r->size ? ((r->size - 1) >> r->chunk_shift) + 1 : 0;
}

uint64_t record_chunk_length(const struct record *r, uint64_t chunk)
{
	uint64_t offset = chunk << r->chunk_shift;

	return MIN(r->size - offset, UINT64_C(1) << r->chunk_shift);
}

bool record_is_blank(const struct record *r)
{
	return record_chunks(r) == 1 && r->hash == 0 && (r->flags & RECORD_KEPT) &&
	       !(r->flags & RECORD_LOCAL);
}
