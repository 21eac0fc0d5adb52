/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/spill.h"
#include <sys/mman.h>
#include <unistd.h>
#include "fetch/publish/writer.h"

struct spill {
	int fd;
	struct writer writer;
	void *map; /* owned; NULL: still being written */
	uint64_t size;
	uint64_t unmapped; /* of it, from the beginning on: by the pass under way */
};

#define BEHIND (UINT64_C(16) << 20)
#define ALIGN8(n) (((n) + 7) & ~UINT64_C(7))

struct spill *spill_new(int dir, GError **error)
{
	int fd = writer_unnamed(dir, error);
	if (fd < 0)
		return NULL;
	struct spill *s = g_new0(struct spill, 1);
	s->fd = fd;
	writer_open(&s->writer, fd, 0);
	return s;
}

void spill_free(struct spill *s)
{
	if (s == NULL)
		return;
	if (s->map != NULL)
		munmap(s->map, s->size);
	writer_close(&s->writer);
	close(s->fd);
	g_free(s);
}

bool spill_add(struct spill *s, const void *data, size_t size, GError **error)
{
	return writer_add(&s->writer, data, size, error);
}

bool spill_pad(struct spill *s, GError **error)
{
	uint64_t at = writer_at(&s->writer);
	return writer_to(&s->writer, ALIGN8(at), error);
}

uint64_t spill_size(const struct spill *s)
{
	return writer_at(&s->writer);
}

bool spill_set(struct spill *s, uint64_t at, const void *data, size_t size, GError **error)
{
	return writer_flush(&s->writer, error) && writer_put(s->fd, at, data, size, error);
}

bool spill_map(struct spill *s, GError **error)
{
	if (!writer_flush(&s->writer, error))
		return false;
	s->size = writer_at(&s->writer);
	s->map = mmap(NULL, s->size, PROT_READ, MAP_SHARED, s->fd, 0);
	if (s->map != MAP_FAILED)
		return true;
	s->map = NULL;
	return writer_fail(error, "mapping a temporary file");
}

static const void *after(const void *p, uint64_t bytes)
{
	return (const char *)p + bytes;
}

/* The pages stay in the page cache, which gives them back without us. */
static void unmap_behind(struct spill *s, uint64_t at)
{
	if (at < s->unmapped) /* another pass */
		s->unmapped = 0;
	if (at - s->unmapped < 2 * BEHIND)
		return;
	uint64_t end = (at - BEHIND) / BEHIND * BEHIND;
	madvise((char *)s->map + s->unmapped, end - s->unmapped, MADV_DONTNEED);
	s->unmapped = end;
}

const struct spill_directory *spill_next(struct spill *s, const struct spill_directory *d)
{
	const void *next = d == NULL ? s->map : after(d + 1, d->bytes);
	unmap_behind(s, (uint64_t)((const char *)next - (const char *)s->map));
	return next == after(s->map, s->size) ? NULL : next;
}

const char *spill_path(const struct spill_directory *d)
{
	return (const char *)(d + 1);
}

const void *spill_xattrs(const struct spill_directory *d)
{
	return after(d + 1, ALIGN8(d->path_size));
}

static uint64_t entry_bytes(const struct spill_entry *e)
{
	return ALIGN8(e->name_size) + ALIGN8(e->inode.xattr_size) + ALIGN8(e->target_size) +
	       e->runs * sizeof(struct spill_run);
}

const struct spill_entry *spill_entry_next(const struct spill_directory *d,
                                           const struct spill_entry *e)
{
	const void *end = after(d + 1, d->bytes), *next;
	if (e == NULL)
		next = after(d + 1, ALIGN8(d->path_size) + ALIGN8(d->inode.xattr_size));
	else
		next = after(e + 1, entry_bytes(e));
	return next == end ? NULL : next;
}

const char *spill_entry_name(const struct spill_entry *e)
{
	return (const char *)(e + 1);
}

const void *spill_entry_xattrs(const struct spill_entry *e)
{
	return after(e + 1, ALIGN8(e->name_size));
}

const char *spill_entry_target(const struct spill_entry *e)
{
	return after(e + 1, ALIGN8(e->name_size) + ALIGN8(e->inode.xattr_size));
}

const struct spill_run *spill_entry_runs(const struct spill_entry *e)
{
	return after(e + 1,
	             ALIGN8(e->name_size) + ALIGN8(e->inode.xattr_size) + ALIGN8(e->target_size));
}
