/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/reuse.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/publish/version.h"

#define RACY_S 60

struct reuse {
	struct index *index; /* owned */
	int64_t before_ns;   /* younger files are not trusted */
};

static bool fail(const char *path, GError **error)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", path, g_strerror(code));
	return false;
}

/* When the publish of an index without its head had ended. */
static int64_t began_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_mtim.tv_sec : 0;
}

static bool folder_open(struct reuse *r, const char *folder, GError **error)
{
	struct head head;
	r->index = version_open(folder, &head, error);
	if (r->index != NULL)
		r->before_ns = (int64_t)MIN(head.serial, INT32_MAX * UINT64_C(4));
	return r->index != NULL;
}

static bool file_open(struct reuse *r, const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(path, error);
	r->before_ns = began_of(fd);
	r->index = index_open(fd, path, NULL, error);
	return r->index != NULL;
}

static bool any_open(struct reuse *r, const char *old, GError **error)
{
	g_autofree char *folder = g_build_filename(old, INDEX_FOLDER, NULL);
	struct stat st;
	if (stat(old, &st) < 0)
		return fail(old, error);
	if (!S_ISDIR(st.st_mode))
		return file_open(r, old, error);
	return folder_open(r, stat(folder, &st) == 0 ? folder : old, error);
}

struct reuse *reuse_open(const char *old, GError **error)
{
	struct reuse *r = g_new0(struct reuse, 1);
	if (any_open(r, old, error)) {
		r->before_ns = (r->before_ns - RACY_S) * 1000000000;
		return r;
	}
	reuse_free(r);
	return NULL;
}

void reuse_free(struct reuse *r)
{
	if (r == NULL)
		return;
	index_unref(r->index);
	g_free(r);
}

static bool is_unchanged(const struct reuse *r, const struct index_node *node,
                         const struct spill_inode *file)
{
	int64_t mtime_ns;
	if (__builtin_mul_overflow(file->seconds, INT64_C(1000000000), &mtime_ns) ||
	    __builtin_add_overflow(mtime_ns, (int64_t)file->nanoseconds, &mtime_ns))
		return false;
	return S_ISREG(node->mode) && node->size == file->size && node->mtime_ns == mtime_ns &&
	       mtime_ns < r->before_ns;
}

bool reuse_digests(const struct reuse *r, const char *path, const struct spill_inode *file,
                   uint64_t offset, uint64_t length, struct digest *out)
{
	struct index_node node;
	if (r == NULL || !index_find(r->index, path, &node, NULL) || !is_unchanged(r, &node, file))
		return false;
	for (uint64_t at = 0; at < length; at += DIGEST_BLOCK) {
		bool hole;
		struct digest *to = &out[at / DIGEST_BLOCK];
		if (!index_block(r->index, &node, offset + at, &hole, to, NULL) || hole)
			return false;
	}
	return true;
}
