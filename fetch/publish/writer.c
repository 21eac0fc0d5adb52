/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (UINT64_C(1) << 20)

bool writer_fail(GError **error, const char *what)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", what, g_strerror(code));
	return false;
}

bool writer_put(int fd, uint64_t at, const void *data, size_t size, GError **error)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return writer_fail(error, "writing the index");
		data = (const char *)data + n;
		at += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

void writer_open(struct writer *w, int fd, uint64_t at)
{
	*w = (struct writer){.fd = fd, .flushed = at, .buffer = g_malloc(BUFFER_SIZE)};
}

void writer_close(struct writer *w)
{
	g_clear_pointer(&w->buffer, g_free);
}

bool writer_flush(struct writer *w, GError **error)
{
	if (!writer_put(w->fd, w->flushed, w->buffer, w->used, error))
		return false;
	w->flushed += w->used;
	w->used = 0;
	return true;
}

uint64_t writer_at(const struct writer *w)
{
	return w->flushed + w->used;
}

/* `data` NULL: zeros. */
static bool add(struct writer *w, const void *data, uint64_t size, GError **error)
{
	while (size > 0) {
		size_t n = MIN(size, BUFFER_SIZE - w->used);
		if (data != NULL) {
			memcpy(w->buffer + w->used, data, n);
			data = (const char *)data + n;
		} else {
			memset(w->buffer + w->used, 0, n);
		}
		w->used += n;
		size -= n;
		if (w->used == BUFFER_SIZE && !writer_flush(w, error))
			return false;
	}
	return true;
}

bool writer_add(struct writer *w, const void *data, size_t size, GError **error)
{
	return add(w, data, size, error);
}

bool writer_to(struct writer *w, uint64_t offset, GError **error)
{
	g_assert(offset >= writer_at(w));
	return add(w, NULL, offset - writer_at(w), error);
}

int writer_unnamed(int dir, GError **error)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		char name[64];
		snprintf(name, sizeof(name), ".tmp-spill-%d", (int)getpid());
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			unlinkat(dir, name, 0);
	}
	if (fd < 0)
		writer_fail(error, "a temporary file");
	return fd;
}
