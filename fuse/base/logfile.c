/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/logfile.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/streams.h"

enum { PENDING_MAX = 65536, FILE_MAX = 4 << 20 };

struct logfile {
	char *path, *store; /* owned; path NULL: standard error */
	int fd;             /* -1: not open yet */
	GString *pending;   /* lines from before the file was there */
};

static int (*opener)(const char *path, const struct stat *full) = logfile_next;

static int refuse(GError **error, const char *path, int code, const char *why)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", path, why);
	return -1;
}

static int refuse_of(GError **error, const char *path, const char *what, uid_t uid)
{
	g_set_error(error, LOCAL_ERROR, EACCES, "%s: %s of uid %u", path, what, (unsigned)uid);
	return -1;
}

/* Checks that no other user can have put the open file there: the daemon may write to it. */
static int file_check(int fd, const char *path, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	struct stat st, directory;
	if (fstat(fd, &st) != 0 || stat(parent, &directory) != 0)
		return refuse(error, path, errno, g_strerror(errno));
	if (!(directory.st_mode & S_IWOTH))
		return 0;
	if (st.st_uid != geteuid() && st.st_uid != directory.st_uid)
		return refuse_of(error, path, "in a directory of everybody it is a file",
		                 st.st_uid);
	if (S_ISREG(st.st_mode) && st.st_nlink > 1)
		return refuse(error, path, EACCES,
		              "in a directory of everybody it is a second name of a file");
	return 0;
}

/* O_NOFOLLOW, unless there is a link that is trusted. */
static int link_flag(const char *path, GError **error)
{
	struct stat st;
	if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode))
		return O_NOFOLLOW;
	if (st.st_uid == geteuid() || st.st_uid == 0)
		return 0;
	return refuse_of(error, path, "a symbolic link", st.st_uid);
}

int logfile_open(const char *path, GError **error)
{
	int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int follow = link_flag(path, error);
	int fd = follow < 0 ? -1 : open(path, flags | follow, 0600);
	if (follow < 0)
		return -1;
	if (fd < 0 && errno == ENXIO)
		return refuse(error, path, ENXIO, "a FIFO that nobody reads, or a socket");
	if (fd < 0)
		return refuse(error, path, errno, g_strerror(errno));
	if (file_check(fd, path, error) == 0) {
		fcntl(fd, F_SETFL, O_APPEND); /* the reader of a FIFO may be slow */
		return fd;
	}
	close(fd);
	return -1;
}

struct logfile *logfile_new(const char *path, const char *store)
{
	struct logfile *f = g_new0(struct logfile, 1);
	f->path = g_strdup(path);
	f->store = g_strdup(store);
	f->pending = g_string_new(NULL);
	f->fd = path ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	return f;
}

static bool store_is_there(const struct logfile *f)
{
	if (!f->store)
		return true;
	g_autofree char *tree = g_build_filename(f->store, "tree", NULL);
	g_autofree char *state = g_build_filename(f->store, "state", NULL);
	return access(tree, F_OK) == 0 && access(state, F_OK) == 0;
}

static void file_replace(struct logfile *f, int fd)
{
	int before = f->fd;
	f->fd = fd;
	streams_log(fd);
	if (before >= 0)
		close(before);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int logfile_next(const char *path, const struct stat *full)
{
	g_autofree char *old = g_strconcat(path, ".1", NULL);
	struct stat st;
	if (full && lstat(path, &st) == 0 && same(&st, full))
		(void)!rename(path, old);
	return logfile_open(path, NULL);
}

void logfile_delegate(int (*next)(const char *path, const struct stat *full))
{
	opener = next;
}

/* false: there is no file to continue in. */
static bool file_rotate(struct logfile *f, const struct stat *full)
{
	struct stat st;
	int fd = opener(f->path, full);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) != 0 || !same(&st, full)) {
		file_replace(f, fd);
		return true;
	}
	close(fd); /* it cannot be renamed, or is known by a link */
	return ftruncate(f->fd, 0) == 0;
}

/* The bytes that go to the current file: to the end of the line that fills it. */
static size_t piece_length(const char *text, size_t length, off_t size)
{
	size_t left = size < FILE_MAX ? (size_t)(FILE_MAX - size) : 0;
	const char *end = left < length ? memchr(text + left, '\n', length - left) : NULL;
	return end ? (size_t)(end - text) + 1 : length;
}

static size_t write_all(int fd, const char *text, size_t length)
{
	size_t done = 0;
	for (ssize_t n; done < length; done += (size_t)n)
		if ((n = write(fd, text + done, length - done)) <= 0)
			break; /* a full disk must not stop the operations that are logged */
	return done;
}

static uint64_t lines_count(const char *text, size_t length)
{
	uint64_t count = 0;
	for (size_t n = 0; n < length; n++)
		count += text[n] == '\n';
	return count;
}

static uint64_t file_write(struct logfile *f, const char *text, size_t length)
{
	while (length) {
		struct stat st;
		bool regular = fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && f->path;
		if (regular && st.st_size >= FILE_MAX) {
			if (!file_rotate(f, &st))
				break;
			st.st_size = 0;
		}
		size_t piece = regular ? piece_length(text, length, st.st_size) : length;
		size_t done = write_all(f->fd, text, piece);
		text += done;
		length -= done;
		if (done < piece)
			break;
	}
	return lines_count(text, length);
}

uint64_t logfile_write(struct logfile *f, const char *text, size_t length)
{
	uint64_t lost = 0;
	int fd = f->fd < 0 && f->path && store_is_there(f) ? opener(f->path, NULL) : -1;
	if (fd >= 0) {
		file_replace(f, fd);
		lost = file_write(f, f->pending->str, f->pending->len);
		g_string_truncate(f->pending, 0);
	}
	if (f->fd >= 0)
		return lost + file_write(f, text, length);
	if (f->pending->len + length > PENDING_MAX)
		return lines_count(text, length);
	g_string_append_len(f->pending, text, (gssize)length);
	return 0;
}
