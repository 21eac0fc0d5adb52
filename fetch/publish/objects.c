/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/objects.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/lock.h"

#define FOLDER "objects"

struct objects {
	int above, folder; /* `.lacuna`, borrowed; the objects, owned */
	bool made;         /* the folder was missing */
	struct mutex lock;
	uint64_t serial;  /* of temporary names; under lock, as the next */
	GPtrArray *names; /* owned; of the objects made */
};

static bool fail(GError **error, const char *name)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, OBJECT_FOLDER "%s%s: %s", *name ? "/" : "", name,
	            g_strerror(code));
	return false;
}

struct objects *objects_open(const struct output *o, GError **error)
{
	int above = output_folder(o);
	bool made = mkdirat(above, FOLDER, 0755) == 0;
	if (!made && errno != EEXIST) {
		fail(error, "");
		return NULL;
	}
	int folder = openat(above, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0) {
		fail(error, "");
		return NULL;
	}
	struct objects *b = g_new0(struct objects, 1);
	b->above = above;
	b->folder = folder;
	b->made = made;
	b->names = g_ptr_array_new_with_free_func(g_free);
	mutex_init(&b->lock, RANK_PUBLISH);
	return b;
}

void objects_close(struct objects *b, const char *index)
{
	struct stat st;
	if (b == NULL)
		return;
	bool gone = index == NULL ||
	            (fstatat(b->above, index, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
	for (guint n = 0; gone && n < b->names->len; n++)
		unlinkat(b->folder, b->names->pdata[n], 0);
	if (gone && b->made) /* fails unless it is empty */
		unlinkat(b->above, FOLDER, AT_REMOVEDIR);
	close(b->folder);
	g_ptr_array_free(b->names, TRUE);
	mutex_destroy(&b->lock);
	g_free(b);
}

/* Whole: one that is damaged is made again. */
static bool is_there(const struct objects *b, const char *name, const char *data, size_t size)
{
	struct stat st;
	char piece[65536];
	int fd = openat(b->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool same = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	            (uint64_t)st.st_size == size;
	for (size_t done = 0; same && done < size;) {
		ssize_t n = pread(fd, piece, MIN(sizeof(piece), size - done), (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		same = n > 0 && memcmp(piece, data + done, (size_t)n) == 0;
		done += same ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	return same;
}

/* 0, or -errno. */
static int write_synced(int fd, const char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, data + done, size - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static bool object_make(struct objects *b, const char *temporary, const char *name,
                        const void *data, size_t size, GError **error)
{
	int fd = openat(b->above, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	                0644);
	if (fd < 0)
		return fail(error, name);
	int err = write_synced(fd, data, size);
	if (close(fd) < 0 && err == 0)
		err = -errno;
	if (err == 0 && renameat(b->above, temporary, b->folder, name) < 0)
		err = -errno;
	if (err == 0)
		return true;
	unlinkat(b->above, temporary, 0);
	errno = -err;
	return fail(error, name);
}

bool objects_put(struct objects *b, const struct digest *id, const void *data, size_t size,
                 GError **error)
{
	g_autofree char *name = digest_text(id);
	char temporary[32];
	if (is_there(b, name, data, size))
		return true;
	mutex_lock(&b->lock);
	snprintf(temporary, sizeof(temporary), ".tmp-%" G_GUINT64_FORMAT, b->serial++);
	mutex_unlock(&b->lock);
	if (!object_make(b, temporary, name, data, size, error))
		return false;
	mutex_lock(&b->lock);
	g_ptr_array_add(b->names, g_steal_pointer(&name));
	mutex_unlock(&b->lock);
	return true;
}

bool objects_sync(struct objects *b, GError **error)
{
	return (fsync(b->folder) == 0 && fsync(b->above) == 0) || fail(error, "");
}
