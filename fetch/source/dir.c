/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Another directory as a source: a slow disk, NFS, a test. What it does blocks, so it has
 * threads for it. The directory is held open: a mount on top of it hides nothing. */
#include "fetch/source/dir.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/path.h"
#include "fetch/pool.h"
#include "fetch/source/dir_private.h"

#define THREADS 8
/* Chunks are published piece by piece, each after a look whether the file is still the same */
#define PIECE (UINT64_C(1) << 20)

struct dir_source {
	struct source base;
	int root;
	char *path; /* owned; for people */
	struct pool *pool;
	int closing; /* atomic */
};

struct job {
	struct pool_job job;
	struct dir_source *source;
	struct source_request *request;
	bool (*run)(struct dir_source *d, struct source_request *request, GError **error);
};

static char *dir_describe(struct source *s, const char *path)
{
	struct dir_source *d = (struct dir_source *)s;
	return *path ? g_strconcat("dir:", d->path, "/", path, NULL)
		     : g_strconcat("dir:", d->path, NULL);
}

static bool failed(struct dir_source *d, const char *path, int err, GError **error)
{
	enum fetch_error code = err == ENOENT || err == ENOTDIR || err == ELOOP ? FETCH_MISSING
				: err == EACCES || err == EPERM			? FETCH_DENIED
				: err == ESTALE					? FETCH_CHANGED
										: FETCH_SERVER;
	g_autofree char *name = dir_describe(&d->base, path);
	g_set_error(error, FETCH_ERROR, code, "%s: %s", name,
		    err == ESTALE ? "the file has changed" : g_strerror(err));
	return false;
}

static bool list(struct dir_source *d, struct source_request *request, GError **error)
{
	struct source_list *req = (struct source_list *)request;
	g_autoptr(GError) cause = NULL;
	int fd = path_open(d->root, request->path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return failed(d, request->path, -fd, error);
	struct listing *l = dir_list(fd, req->previous, &cause);
	if (!l)
		return failed(d, request->path, cause->code, error);
	req->listing = l;
	return true;
}

static source_version version_of(const struct stat *st)
{
	/* Not the ctime: a new hard link or mode is no new version of the bytes */
	uint64_t key[] = {st->st_dev, st->st_ino, st->st_size, dir_mtime_ns(st)};
	uint64_t hash = XXH3_64bits(key, sizeof(key));
	return hash ? hash : 1;
}

static bool attributes(struct dir_source *d, struct source_request *request, GError **error)
{
	struct source_stat *req = (struct source_stat *)request;
	struct stat st;
	int fd = path_open(d->root, request->path, O_PATH | O_NOFOLLOW, 0);
	int err = fd < 0 ? -fd : fstat(fd, &st) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (err)
		return failed(d, request->path, err, error);
	req->size = st.st_size;
	req->mtime_ns = dir_mtime_ns(&st);
	req->mtime_known = true;
	req->version = version_of(&st);
	return true;
}

/* A hole becomes a hole: whatever an earlier attempt left there goes. */
static int hole_punch(int to, uint64_t offset, uint64_t length)
{
	static const char zeros[65536];
	if (fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
		return 0;
	for (uint64_t done = 0; done < length;) {
		ssize_t n = pwrite(to, zeros, MIN(sizeof(zeros), length - done), offset + done);
		if (n < 0)
			return errno;
		done += n;
	}
	return 0;
}

/* In the kernel, by reflink where both lie on a file system that can. 0, a positive errno, or
 * -1: not between these two. *end: how far it came. */
static int piece_place(int from, int to, uint64_t offset, uint64_t length, bool *local)
{
	*local = false;
	while (length > 0) {
		off_t in = offset, out = offset;
		ssize_t n = copy_file_range(from, &in, to, &out, length, 0);
		if (n == 0)
			return ESTALE; /* it is shorter than it was */
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
			      errno == EOPNOTSUPP || errno == EBADF || errno == ETXTBSY))
			return -1;
		if (n < 0) {
			*local = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
			return errno;
		}
		offset += n;
		length -= n;
	}
	return 0;
}

static int piece_read(int from, char *buffer, uint64_t offset, uint64_t length)
{
	for (uint64_t done = 0; done < length;) {
		ssize_t n = pread(from, buffer + done, length - done, offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ESTALE;
		done += n;
	}
	return 0;
}

/* The end of what is all data, or all hole, at `offset`. */
static uint64_t extent_end(int from, uint64_t offset, uint64_t end, bool *hole)
{
	off_t data = lseek(from, offset, SEEK_DATA);
	*hole = data < 0 ? errno == ENXIO : (uint64_t)data > offset;
	if (*hole)
		return data < 0 ? end : MIN(end, (uint64_t)data);
	off_t next = data < 0 ? -1 : lseek(from, offset, SEEK_HOLE);
	return next > (off_t)offset ? MIN(end, (uint64_t)next) : end;
}

static bool deliver(struct dir_source *d, struct source_read *req, int from, GError **error)
{
	const char *path = req->base.path;
	uint64_t end = req->offset + req->length;
	g_autofree char *buffer = NULL;
	bool place = req->fd >= 0;
	for (uint64_t at = req->offset; at < end;) {
		bool hole, local = false;
		uint64_t stop = extent_end(from, at, end, &hole);
		if (!hole)
			stop = MIN(stop, at + PIECE);
		int err = -1;
		if (hole && place) {
			err = hole_punch(req->fd, at, stop - at);
			local = err != 0;
		} else if (place) {
			err = piece_place(from, req->fd, at, stop - at, &local);
			place = err != -1;
		}
		bool placed = err != -1;
		if (!placed) {
			stop = MIN(stop, at + PIECE);
			if (!buffer)
				buffer = g_malloc(PIECE);
			err = piece_read(from, buffer, at, stop - at);
		}
		if (local) {
			g_set_error(error, LOCAL_ERROR, err, "%s: %s", path, g_strerror(err));
			return false;
		}
		/* What was copied counts only if the file was the same before and after */
		struct stat st;
		if (!err && (fstat(from, &st) < 0 || version_of(&st) != req->version))
			err = ESTALE;
		if (err)
			return failed(d, path, err, error);
		if (__atomic_load_n(&d->closing, __ATOMIC_ACQUIRE)) {
			g_set_error(error, FETCH_ERROR, FETCH_CANCELLED, "unmounted");
			return false;
		}
		err = req->data(req, at, placed ? NULL : buffer, stop - at);
		if (err) {
			g_set_error(error, LOCAL_ERROR, -err, "%s: %s", path, g_strerror(-err));
			return false;
		}
		at = stop;
	}
	return true;
}

static bool range(struct dir_source *d, struct source_request *request, GError **error)
{
	struct source_read *req = (struct source_read *)request;
	/* O_NONBLOCK: a fifo that took the file's place must not hold us up */
	int fd = path_open(d->root, request->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return failed(d, request->path, -fd, error);
	struct stat st;
	int err = fstat(fd, &st) < 0 ? errno : 0;
	if (!err && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != req->size ||
		     (req->pinned && version_of(&st) != req->pinned)))
		err = ESTALE;
	bool ok = !err || failed(d, request->path, err, error);
	if (ok) {
		req->version = version_of(&st);
		err = req->begin(req);
		if (err) {
			g_set_error(error, LOCAL_ERROR, -err, "%s: %s", request->path,
				    g_strerror(-err));
			ok = false;
		}
	}
	ok = ok && deliver(d, req, fd, error);
	close(fd);
	return ok;
}

static void job_run(struct pool_job *pool_job)
{
	struct job *j = (struct job *)pool_job;
	struct dir_source *d = j->source;
	struct source_request *request = j->request;
	g_autoptr(GError) error = NULL;
	if (__atomic_load_n(&d->closing, __ATOMIC_ACQUIRE))
		g_set_error(&error, FETCH_ERROR, FETCH_CANCELLED, "unmounted");
	else
		j->run(d, request, &error);
	g_free(j);
	request->done(request, error);
}

static void submit(struct source *s, struct source_request *request,
		   bool (*run)(struct dir_source *, struct source_request *, GError **))
{
	struct job *j = g_new0(struct job, 1);
	j->job.run = job_run;
	j->source = (struct dir_source *)s;
	j->request = request;
	j->run = run;
	pool_submit(j->source->pool, &j->job);
}

static void dir_source_list(struct source *s, struct source_list *req)
{
	submit(s, &req->base, list);
}

static void dir_source_stat(struct source *s, struct source_stat *req)
{
	submit(s, &req->base, attributes);
}

static void dir_source_read(struct source *s, struct source_read *req)
{
	submit(s, &req->base, range);
}

static void dir_close(struct source *s)
{
	struct dir_source *d = (struct dir_source *)s;
	__atomic_store_n(&d->closing, 1, __ATOMIC_RELEASE);
	pool_free(d->pool);
	close(d->root);
	g_free(d->path);
	g_free(d);
}

static const struct source_ops dir_ops = {
	.name = "dir",
	.list = dir_source_list,
	.stat = dir_source_stat,
	.read = dir_source_read,
	.close = dir_close,
	.describe = dir_describe,
};

struct source *dir_source_open(const char *path, const struct source_options *options,
			       GError **error)
{
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *real = root >= 0 ? realpath(path, NULL) : NULL;
	if (!real) {
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", path, g_strerror(errno));
		if (root >= 0)
			close(root);
		return NULL;
	}
	struct dir_source *d = g_new0(struct dir_source, 1);
	d->base.ops = &dir_ops;
	d->base.xattrs = true;
	d->root = root;
	d->path = g_strdup(real);
	free(real);
	d->pool = pool_new("dir", THREADS);
	return &d->base;
}
