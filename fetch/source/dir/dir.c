/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/dir/dir.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/path.h"
#include "fetch/source/dir/dir_private.h"

#define THREADS_MAX 64

enum job_kind { JOB_LIST, JOB_STAT, JOB_READ };

struct dir_job {
	struct pool_job job;
	struct dir_source *source;
	struct source_request *request;
	enum job_kind kind;
};

int64_t dir_time(const struct statx_timestamp *t)
{
	int64_t ns;

	if (__builtin_mul_overflow(t->tv_sec, INT64_C(1000000000), &ns) ||
	    __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
		return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* Device numbers change from boot to boot; the root's own needs none. */
static uint64_t device_of(const struct dir_source *d, const struct statx *st)
{
	uint64_t device = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;

	return device == d->device ? 0 : device;
}

/* Includes the birth time, since inode numbers are reused. 0 and 1 are other inodes. */
uint64_t dir_ino(const struct dir_source *d, const struct statx *st)
{
	uint64_t what[3] = {device_of(d, st), st->stx_ino}, hash;

	if (st->stx_mask & STATX_BTIME)
		what[2] = (uint64_t)dir_time(&st->stx_btime);
	hash = XXH3_64bits(what, sizeof what);
	return hash > 1 ? hash : hash + 2;
}

source_version dir_instance(const struct dir_source *d, const struct statx *st)
{
	uint64_t what[] = {
	        device_of(d, st),
	        st->stx_ino,
	        st->stx_size,
	        (uint64_t)dir_time(&st->stx_mtime),
	        (uint64_t)dir_time(&st->stx_ctime),
	};
	uint64_t hash = XXH3_64bits(what, sizeof what);

	return hash ? hash : 1;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static char *http_date(int64_t seconds)
{
	static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(seconds);

	if (t == NULL)
		return NULL;
	return g_strdup_printf(
	        "%s, %02d %s %04d %02d:%02d:%02d GMT", days[g_date_time_get_day_of_week(t) - 1],
	        g_date_time_get_day_of_month(t), months[g_date_time_get_month(t) - 1],
	        g_date_time_get_year(t), g_date_time_get_hour(t), g_date_time_get_minute(t),
	        g_date_time_get_second(t));
}

source_version dir_version(const struct dir_source *d, const struct statx *st)
{
	g_autofree char *date = d->dated ? http_date(st->stx_mtime.tv_sec) : NULL;

	return date ? source_version_dated(date, st->stx_size) : dir_instance(d, st);
}

static char *dir_describe(struct source *s, const char *path)
{
	struct dir_source *d = (struct dir_source *)s;
	bool slash = path[0] && !g_str_has_suffix(d->root, "/");

	return g_strconcat("dir:", d->root, slash ? "/" : "", path, NULL);
}

static enum fetch_error error_kind(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return FETCH_DENIED;
	case ENOENT:
	case ENOTDIR: /* another kind of file than was listed */
	case ELOOP:
	case EISDIR:
		return FETCH_MISSING;
	case ETIMEDOUT:
		return FETCH_TIMEOUT;
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENOTCONN:
	case ESHUTDOWN:
		return FETCH_UNREACHABLE;
	default:
		return FETCH_SERVER;
	}
}

void dir_fail(struct dir_source *d, const char *path, int err, GError **error)
{
	g_autofree char *name = dir_describe(&d->source, path);

	if (err == EMFILE || err == ENFILE || err == ENOMEM)
		g_set_error(error, LOCAL_ERROR, err, "%s: %s", name, g_strerror(err));
	else
		g_set_error(error, FETCH_ERROR, error_kind(err), "%s: %s", name, g_strerror(err));
}

bool dir_meets(struct dir_source *d, const char *path, const struct statx *st,
               enum source_demand demand, int64_t listed_ns, GError **error)
{
	if (source_time_fits(demand, dir_time(&st->stx_mtime), listed_ns))
		return true;
	g_autofree char *name = dir_describe(&d->source, path);
	g_set_error(error, FETCH_ERROR, FETCH_CHANGED,
	            "%s: another version: its mtime is %s the listed time", name,
	            demand == DEMAND_LISTED ? "not" : "before");
	return false;
}

bool dir_goes_on(struct dir_source *d, GError **error)
{
	if (!__atomic_load_n(&d->closing, __ATOMIC_ACQUIRE))
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_CANCELLED, "dir:%s: the mount is going away",
	            d->root);
	return false;
}

static bool dir_stat(struct dir_source *d, struct source_stat *req, GError **error)
{
	int fd = path_open(d->fd, req->base.path, O_PATH | O_NOFOLLOW, 0), err = 0;
	struct statx st;

	if (fd < 0)
		err = -fd;
	else if (statx(fd, "", AT_EMPTY_PATH, DIR_STATX, &st) < 0)
		err = errno;
	if (fd >= 0)
		close(fd);
	if (err) {
		dir_fail(d, req->base.path, err, error);
		return false;
	}
	if (S_ISDIR(st.stx_mode)) {
		g_autofree char *name = dir_describe(&d->source, req->base.path);

		g_set_error(error, FETCH_ERROR, FETCH_DIRECTORY, "%s: a directory at the source",
		            name);
		return false;
	}
	if (!dir_meets(d, req->base.path, &st, req->demand, req->listed_ns, error))
		return false;
	req->size = st.stx_size;
	req->mtime_ns = dir_time(&st.stx_mtime);
	req->mtime_known = true;
	req->version = dir_version(d, &st);
	return true;
}

/* 0; ENOMEDIUM: it holds no name, like a mount point before its file system is mounted. A root that
 * may not be listed counts as full. */
static int root_check(int fd)
{
	int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *dir = readable >= 0 ? fdopendir(readable) : NULL;
	const struct dirent *e;

	if (dir == NULL) {
		err = errno == EACCES ? 0 : errno;
		if (readable >= 0)
			close(readable);
		return err;
	}
	do {
		errno = 0;
		e = readdir(dir);
		err = e != NULL ? 0 : errno != 0 ? errno : ENOMEDIUM;
	} while (e != NULL && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
	closedir(dir);
	return err;
}

static bool root_open_locked(struct dir_source *d) REQUIRES(d->opening)
{
	int fd = open(d->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statx st;
	int err;

	if (fd < 0)
		return false;
	err = statx(fd, "", AT_EMPTY_PATH, DIR_STATX, &st) < 0 ? errno : 0;
	/* other mirrors have the tree, and this descriptor would stay that of the mount point */
	if (err == 0 && d->mirrored)
		err = root_check(fd);
	if (err) {
		close(fd);
		errno = err;
		return false;
	}
	d->device = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	d->fd = fd;
	return true;
}

static bool root_open(struct dir_source *d, enum fetch_error *code, GError **error)
{
	int err = 0;
	const char *cause;

	mutex_lock(&d->opening);
	if (d->fd < 0 && !root_open_locked(d))
		err = errno;
	mutex_unlock(&d->opening);
	cause = err == ENOMEDIUM ? "empty: perhaps its file system is not mounted yet"
	                         : g_strerror(err);
	if (err && code)
		g_set_error(error, FETCH_ERROR, (int)*code, "dir:%s: %s", d->root, cause);
	else if (err)
		g_set_error(error, LOCAL_ERROR, err, "dir:%s: %s", d->root, cause);
	return err == 0;
}

static void job_run(struct pool_job *job)
{
	struct dir_job *j = (struct dir_job *)job;
	struct source_request *req = j->request;
	struct dir_source *d = j->source;
	enum fetch_error away = FETCH_UNREACHABLE;
	g_autoptr(GError) error = NULL;

	if (dir_goes_on(d, &error) && root_open(d, &away, &error)) {
		switch (j->kind) {
		case JOB_LIST:
			dir_list(d, (struct source_list *)req, &error);
			break;
		case JOB_STAT:
			dir_stat(d, (struct source_stat *)req, &error);
			break;
		case JOB_READ:
			dir_read(d, (struct source_read *)req, &error);
			break;
		}
	}
	g_free(j);
	req->done(req, error);
}

static void job_submit(struct source *s, struct source_request *req, enum job_kind kind)
{
	struct dir_source *d = (struct dir_source *)s;
	struct dir_job *j = g_new0(struct dir_job, 1);

	j->job.run = job_run;
	j->source = d;
	j->request = req;
	j->kind = kind;
	pool_submit(d->pool, &j->job);
}

static void submit_list(struct source *s, struct source_list *req)
{
	job_submit(s, &req->base, JOB_LIST);
}

static void submit_stat(struct source *s, struct source_stat *req)
{
	job_submit(s, &req->base, JOB_STAT);
}

static void submit_read(struct source *s, struct source_read *req)
{
	job_submit(s, &req->base, JOB_READ);
}

static void dir_stop(struct source *s)
{
	__atomic_store_n(&((struct dir_source *)s)->closing, 1, __ATOMIC_RELEASE);
}

static void dir_close(struct source *s)
{
	struct dir_source *d = (struct dir_source *)s;

	dir_stop(s);
	pool_free(d->pool); /* queued jobs end at once */
	if (d->fd >= 0)
		close(d->fd);
	mutex_destroy(&d->opening);
	g_free(d->root);
	g_free(d);
}

static const struct source_ops dir_ops = {
        .name = "dir",
        .list = submit_list,
        .stat = submit_stat,
        .read = submit_read,
        .stop = dir_stop,
        .close = dir_close,
        .describe = dir_describe,
};

static uint64_t shape_of(const struct dir_source *d)
{
	uint32_t made_with[3] = {d->own, d->own ? d->uid : 0, d->own ? d->gid : 0};

	return XXH3_64bits_withSeed(made_with, sizeof made_with,
	                            XXH3_64bits(d->root, strlen(d->root)));
}

struct source *dir_source_open(const char *path, const struct source_options *options,
                               GError **error)
{
	struct dir_source *d = g_new0(struct dir_source, 1);
	char *real = realpath(path, NULL);

	d->source.ops = &dir_ops;
	d->source.xattrs = true;
	d->root = g_strdup(real ? real : path);
	free(real);
	mutex_init(&d->opening, RANK_DIR_ROOT);
	d->fd = -1;
	d->mirrored = options->mirrored;
	d->dated = options->mirrored && options->no_etag;
	d->own = options->own;
	d->uid = options->uid;
	d->gid = options->gid;
	d->source.shape = shape_of(d);
	d->pool = pool_new("source", CLAMP(options->connections, 1, THREADS_MAX));
	if (root_open(d, NULL, options->mirrored ? NULL : error) || options->mirrored ||
	    options->offline) {
		if (options->offline)
			g_clear_error(error);
		return &d->source;
	}
	dir_close(&d->source);
	return NULL;
}
