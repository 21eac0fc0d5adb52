/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/output.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/dirents.h"
#include "fetch/index/index.h"

#define TEMPORARY ".tmp-"
#define UNFINISHED TEMPORARY "index"
#define UNFINISHED_HEAD TEMPORARY "head"

struct output {
	char *path; /* owned; of the folder, for messages */
	int folder, index;
};

static bool fail(const struct output *o, const char *name, GError **error)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s%s%s: %s", o->path, *name ? "/" : "", name,
	            g_strerror(code));
	return false;
}

static bool folder_open(struct output *o, GError **error)
{
	if (mkdir(o->path, 0755) < 0 && errno != EEXIST)
		return fail(o, "", error);
	o->folder = open(o->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (o->folder < 0)
		return fail(o, "", error);
	if (flock(o->folder, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno != EWOULDBLOCK)
		return fail(o, "", error);
	g_set_error(error, LOCAL_ERROR, EBUSY,
	            "%s: another publish is under way; wait until it has ended", o->path);
	return false;
}

static bool leftovers_remove(struct output *o, GError **error)
{
	int copy = openat(o->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), more;
	if (copy < 0)
		return fail(o, "", error);
	struct dirents *dirents = dirents_new(copy);
	struct dirent *e;
	while ((more = dirents_next(dirents, &e)) > 0)
		if (g_str_has_prefix(e->d_name, TEMPORARY))
			unlinkat(o->folder, e->d_name, 0);
	dirents_free(dirents);
	errno = -more;
	return more == 0 || fail(o, "", error);
}

struct output *output_open(const char *directory, GError **error)
{
	struct output *o = g_new0(struct output, 1);
	o->path = g_build_filename(directory, INDEX_FOLDER, NULL);
	o->folder = o->index = -1;
	if (folder_open(o, error) && leftovers_remove(o, error))
		return o;
	output_close(o);
	return NULL;
}

void output_close(struct output *o)
{
	if (o == NULL)
		return;
	if (o->index >= 0) {
		unlinkat(o->folder, UNFINISHED, 0);
		close(o->index);
	}
	if (o->folder >= 0)
		close(o->folder);
	g_free(o->path);
	g_free(o);
}

int output_folder(const struct output *o)
{
	return o->folder;
}

/* Readable for all: a web server of another user serves it. */
static int file_make(struct output *o, const char *name, GError **error)
{
	int fd = openat(o->folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		fail(o, name, error);
	return fd;
}

int output_begin(struct output *o, GError **error)
{
	g_assert(o->index < 0);
	o->index = file_make(o, UNFINISHED, error);
	return o->index;
}

/* The current head; false: there is none that can be used. */
static bool head_read(const struct output *o, struct head *out)
{
	char text[HEAD_SIZE + 1];
	int fd = openat(o->folder, "head", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text), 0) : -1;
	if (fd >= 0)
		close(fd);
	return n >= 0 && head_parse(text, (size_t)n, out, NULL);
}

/* A file whose name is its root may have been damaged since. */
static bool index_is_whole(const struct output *o, const struct head *h)
{
	g_autofree char *name = head_index_name(h);
	int fd = openat(o->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct index *x = fd >= 0 ? index_open(fd, name, &h->root, NULL) : NULL;
	bool whole = x != NULL && index_verify(x, NULL);
	index_unref(x);
	return whole;
}

static bool is_published(const struct output *o, const char *name, uint64_t size)
{
	struct stat st;
	return fstatat(o->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == size;
}

/* Durable, as `name`, if a sync of the folder follows. */
static bool head_put(struct output *o, const char *name, const struct head *h, GError **error)
{
	char text[HEAD_SIZE];
	head_format(h, text);
	int fd = file_make(o, UNFINISHED_HEAD, error);
	if (fd < 0)
		return false;
	bool ok = pwrite(fd, text, sizeof(text), 0) == (ssize_t)sizeof(text) && fsync(fd) == 0;
	int code = errno;
	close(fd);
	errno = code;
	if (ok && renameat(o->folder, UNFINISHED_HEAD, o->folder, name) == 0)
		return true;
	fail(o, name, error);
	unlinkat(o->folder, UNFINISHED_HEAD, 0);
	return false;
}

static bool folder_sync(struct output *o, GError **error)
{
	return fsync(o->folder) == 0 || fail(o, "", error);
}

/* Is `before` what would be published? */
static bool is_current(const struct output *o, const struct head *before, const struct digest *root,
                       const struct signer *signer)
{
	g_autofree char *copy = head_copy_name(before);
	if (!digest_equal(&before->root, root) || !index_is_whole(o, before))
		return false;
	return signer == NULL || (head_signed(before, signer) && is_published(o, copy, HEAD_SIZE));
}

/* From now on it is the garbage of sweep.h, which goes by the time of this change. */
static void version_retire(const struct output *o, const struct head *before)
{
	g_autofree char *index = head_index_name(before), *copy = head_copy_name(before);
	const char *const names[] = {index, copy};
	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
		struct stat st;
		if (fstatat(o->folder, names[n], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			fchmodat(o->folder, names[n], st.st_mode & 07777, 0);
	}
}

bool output_commit(struct output *o, struct head *h, const struct signer *signer, bool *unchanged,
                   bool *was_signed, GError **error)
{
	struct head before = {0};
	bool known = head_read(o, &before);
	g_autofree char *name = head_index_name(h), *copy = head_copy_name(h);
	*was_signed = before.is_signed;
	*unchanged = known && is_current(o, &before, &h->root, signer);
	if (*unchanged) {
		*h = before;
		return true;
	}
	/* also after somebody has removed the folder */
	h->serial = MAX(before.serial + 1, h->serial);
	if (signer != NULL)
		head_sign(h, signer);
	if (fsync(o->index) < 0 || renameat(o->folder, UNFINISHED, o->folder, name) < 0)
		return fail(o, name, error);
	close(o->index);
	o->index = -1;
	/* before it is replaced: afterwards nobody would do it */
	if (known)
		version_retire(o, &before);
	return (signer == NULL || head_put(o, copy, h, error)) && folder_sync(o, error) &&
	       head_put(o, "head", h, error) && folder_sync(o, error);
}
