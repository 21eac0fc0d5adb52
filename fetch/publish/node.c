/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/node.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/index/format.h"

#define SPARSE_CHUNKS_MAX UINT64_C(65536) /* of a file with holes; more are made larger */
#define SPARSE_BITS_MIN 16u               /* a digest's block is never half a hole */

bool node_fail(GError **error, const char *path, int code)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", *path ? path : ".", g_strerror(code));
	return false;
}

/* As EROFS has it: 8 bits of the minor, 12 of the major, 12 of the minor. */
static uint32_t device_encode(const struct statx *st)
{
	uint32_t minor = st->stx_rdev_minor;
	return (minor & 0xff) | st->stx_rdev_major << 8 | (minor & ~UINT32_C(0xff)) << 12;
}

void node_inode(const struct statx *st, const char *path, struct spill_inode *out)
{
	uint32_t identity = (uint32_t)XXH3_64bits(path, strlen(path));
	*out = (struct spill_inode){
	        .size = S_ISREG(st->stx_mode) ? st->stx_size : 0,
	        .seconds = st->stx_mtime.tv_sec,
	        .nanoseconds = st->stx_mtime.tv_nsec,
	        .mode = st->stx_mode,
	        .uid = st->stx_uid,
	        .gid = st->stx_gid,
	        .nlink = 1,
	        .identity = identity != 0 ? identity : 1,
	};
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		out->data = device_encode(st);
}

bool node_same(const struct spill_entry *e, const struct statx *st)
{
	const struct spill_inode *i = &e->inode;
	return S_ISREG(st->stx_mode) && e->ino == st->stx_ino && i->size == st->stx_size &&
	       i->seconds == st->stx_mtime.tv_sec && i->nanoseconds == st->stx_mtime.tv_nsec &&
	       e->ctime_seconds == st->stx_ctime.tv_sec &&
	       e->ctime_nanoseconds == st->stx_ctime.tv_nsec;
}

bool node_target(int fd, const char *name, const char *path, char target[PATH_MAX], size_t *size,
                 GError **error)
{
	ssize_t n = readlinkat(fd, name, target, PATH_MAX);
	if (n < 0)
		return node_fail(error, path, errno);
	if (n == 0 || n >= PATH_MAX)
		return node_fail(error, path, n == 0 ? EIO : ENAMETOOLONG);
	target[n] = '\0';
	*size = (size_t)n;
	return true;
}

static unsigned bits_for(uint64_t size, uint64_t chunks)
{
	unsigned bits = EROFS_BLOCK_BITS;
	while (size > chunks << bits)
		bits++;
	return bits;
}

/* Every byte of a chunk that has any data counts as data. */
static bool runs_find(int fd, uint64_t size, unsigned bits, GArray *runs)
{
	for (off_t at = 0; (uint64_t)at < size;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t end = data >= 0 ? lseek(fd, data, SEEK_HOLE) : -1;
		if (data < 0 && errno == ENXIO)
			return true;
		if (data < 0 || end < 0)
			return false;
		uint64_t first = (uint64_t)data >> bits, last = ((uint64_t)end - 1) >> bits;
		last = MIN(last, (size - 1) >> bits);
		if ((uint64_t)data >= size)
			return true;
		struct spill_run *before =
		        runs->len > 0 ? &g_array_index(runs, struct spill_run, runs->len - 1)
		                      : NULL;
		if (before != NULL && first <= before->chunk + before->count) {
			before->count = (uint32_t)(last + 1) - before->chunk;
		} else {
			struct spill_run r = {.chunk = (uint32_t)first,
			                      .count = (uint32_t)(last + 1 - first)};
			g_array_append_val(runs, r);
		}
		at = (off_t)((last + 1) << bits);
	}
	return true;
}

static void run_whole(GArray *runs)
{
	struct spill_run r = {.count = 1};
	g_array_set_size(runs, 0);
	g_array_append_val(runs, r);
}

bool node_chunks(int fd, const char *name, const char *path, const struct statx *st,
                 struct spill_inode *i, GArray *runs, GError **error)
{
	unsigned bits = bits_for(i->size, 1);
	g_array_set_size(runs, 0);
	if (i->size > INT64_MAX - EROFS_BLOCK)
		return node_fail(error, path, EFBIG);
	if (i->size == 0)
		return true;
	run_whole(runs);
	if (st->stx_blocks * 512 < i->size && bits > SPARSE_BITS_MIN) {
		unsigned small = MAX(SPARSE_BITS_MIN, bits_for(i->size, SPARSE_CHUNKS_MAX));
		int file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (file < 0)
			return node_fail(error, path, errno);
		g_array_set_size(runs, 0);
		bool found = runs_find(file, i->size, small, runs);
		close(file);
		uint64_t chunks = ((i->size - 1) >> small) + 1;
		const struct spill_run *r = (const struct spill_run *)(void *)runs->data;
		if (!found || (runs->len == 1 && r->count == chunks))
			run_whole(runs); /* compressed, or a file system that knows no holes */
		else
			bits = small;
	}
	for (guint n = 0; n < runs->len; n++) {
		struct spill_run *r = &g_array_index(runs, struct spill_run, n);
		uint64_t from = (uint64_t)r->chunk << bits;
		r->length = MIN((uint64_t)r->count << bits, i->size - from);
	}
	i->data = (bits - EROFS_BLOCK_BITS) | EROFS_CHUNK_INDEXES;
	return true;
}
