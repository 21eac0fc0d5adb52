/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "events.h"

#define PRE_ACCESS 0x00100000
#define DENY_ERRNO(e) (FAN_DENY | (uint32_t)(e) << 24)

int kept = -1;
static char buffer[4 << 20] __attribute__((aligned(4096)));

long result(long r)
{
	return r < 0 ? -errno : r;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0) {
		perror(path);
		_exit(3);
	}
	return fd;
}

/* A call on the file that is open by `flags`, as fd. */
#define CALL(name, flags, expression)                                                              \
	static long name(const char *path)                                                         \
	{                                                                                          \
		int fd = open_or_die(path, flags);                                                 \
		long r = result(expression);                                                       \
		close(fd);                                                                         \
		return r;                                                                          \
	}
#define PLAIN(name, expression)                                                                    \
	static long name(const char *path)                                                         \
	{                                                                                          \
		return result(expression);                                                         \
	}

CALL(opened, O_RDONLY, 0)
CALL(opened_write, O_RDWR, 0)
CALL(opened_trunc, O_RDWR | O_TRUNC, 0)
CALL(opened_path, O_PATH, 0)
CALL(fsynced, O_RDWR, fsync(fd))
CALL(synced_range, O_RDWR, sync_file_range(fd, 0, PAGE, 0))
CALL(sought_data, O_RDONLY, lseek(fd, 0, SEEK_DATA))
CALL(sought_hole, O_RDONLY, lseek(fd, 0, SEEK_HOLE))
/* The events of these calls are asynchronous */
CALL(advised, O_RDONLY, posix_fadvise(fd, 0, PAGE, POSIX_FADV_WILLNEED) + usleep(300000))
CALL(read_ahead, O_RDONLY, readahead(fd, 0, PAGE) + usleep(300000))
CALL(read_start, O_RDONLY, read(fd, buffer, 100))
CALL(read_nothing, O_RDONLY, read(fd, buffer, 0))
CALL(read_inside, O_RDONLY, pread(fd, buffer, 100, 5000))
CALL(read_across, O_RDONLY, pread(fd, buffer, 200, 8100))
CALL(read_all, O_RDONLY, read(fd, buffer, SIZE))
CALL(read_end, O_RDONLY, pread(fd, buffer, 10000, SIZE - 10))
CALL(read_beyond, O_RDONLY, pread(fd, buffer, 100, SIZE + 100000))
CALL(read_large, O_RDONLY, read(fd, buffer, 3 << 20))
CALL(read_large_file, O_RDONLY, read(fd, buffer, 3 << 20))
CALL(read_uring, O_RDONLY, uring_read(fd, buffer, 10000, 5000))
CALL(read_direct, O_RDONLY | O_DIRECT, pread(fd, buffer, 8192, 8192))
CALL(read_nonblock, O_RDONLY | O_NONBLOCK, read(fd, buffer, 100))
CALL(stat_open, O_RDONLY, fstat(fd, (struct stat *)buffer))
CALL(write_start, O_RDWR, write(fd, buffer, 100))
CALL(write_inside, O_RDWR, pwrite(fd, buffer, 100, 5000))
CALL(write_across, O_RDWR, pwrite(fd, buffer, 200, 8100))
CALL(write_beyond, O_RDWR, pwrite(fd, buffer, 100, SIZE + 100000))
CALL(write_append, O_WRONLY | O_APPEND, write(fd, buffer, 100))
CALL(write_direct, O_RDWR | O_DIRECT, pwrite(fd, buffer, 8192, 8192))
CALL(truncated, O_RDWR, ftruncate(fd, 5000))
CALL(truncated_page, O_RDWR, ftruncate(fd, 32768))
CALL(truncated_up, O_RDWR, ftruncate(fd, SIZE + 5000))
CALL(allocated, O_RDWR, fallocate(fd, 0, 5000, 5000))
CALL(allocated_keep, O_RDWR, fallocate(fd, FALLOC_FL_KEEP_SIZE, SIZE, 5000))
CALL(punched, O_RDWR, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 9000))
CALL(zeroed, O_RDWR, fallocate(fd, FALLOC_FL_ZERO_RANGE, 5000, 9000))
CALL(collapsed, O_RDWR, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 8192, 8192))
CALL(inserted, O_RDWR, fallocate(fd, FALLOC_FL_INSERT_RANGE, 8192, 8192))
PLAIN(stated, stat(path, (struct stat *)buffer))
PLAIN(truncated_path, truncate(path, 5000))
PLAIN(xattr_set, setxattr(path, "user.row", "1", 1, 0))
PLAIN(xattr_get, getxattr(path, "user.none", buffer, 100))
PLAIN(chmoded, chmod(path, 0640))

static long read_vector(const char *path)
{
	struct iovec v[3] = {{buffer, 10}, {buffer + 100, 4096}, {buffer + 8192, 1000}};
	int fd = open_or_die(path, O_RDONLY);
	lseek(fd, 4000, SEEK_SET);
	long r = result(readv(fd, v, 3));
	close(fd);
	return r;
}

static long write_vector(const char *path)
{
	struct iovec v[2] = {{buffer, 10}, {buffer + 100, 5000}};
	int fd = open_or_die(path, O_RDWR);
	long r = result(pwritev(fd, v, 2, 4090));
	close(fd);
	return r;
}

static long read_nowait(const char *path)
{
	struct iovec v = {buffer, 100};
	int fd = open_or_die(path, O_RDONLY);
	long r = result(preadv2(fd, &v, 1, 5000, RWF_NOWAIT));
	close(fd);
	return r == -EAGAIN || r == -EOPNOTSUPP ? 0 : r; /* as the page cache has it */
}

static long spliced(const char *path)
{
	int fd = open_or_die(path, O_RDONLY), pipes[2];
	loff_t at = 5000;
	if (pipe(pipes) != 0)
		return -errno;
	long r = result(splice(fd, &at, pipes[1], NULL, 10000, 0));
	close(pipes[0]), close(pipes[1]), close(fd);
	return r > 0 ? 1 : r; /* how much depends on the pipe's pages */
}

static long sent(const char *path)
{
	int fd = open_or_die(path, O_RDONLY), null = open_or_die("/dev/null", O_WRONLY);
	off_t at = 5000;
	long r = result(sendfile(null, fd, &at, 10000));
	close(null), close(fd);
	return r;
}

/* Within the file: from here to there, one page on each side of a boundary. */
static long copied(const char *path)
{
	int fd = open_or_die(path, O_RDONLY), to = open_or_die(path, O_RDWR);
	off_t in = 5000, out = 100000;
	long r = result(copy_file_range(fd, &in, to, &out, 5000, 0));
	close(to), close(fd);
	return r;
}

static long cloned(const char *path)
{
	int fd = open_or_die(path, O_RDWR);
	struct file_clone_range c = {fd, 0, 8192, 65536};
	long r = result(ioctl(fd, FICLONERANGE, &c));
	close(fd);
	return r;
}

static long map(const char *path, int protection, int flags, off_t offset, size_t length)
{
	int fd = open_or_die(path, protection & PROT_WRITE ? O_RDWR : O_RDONLY);
	char *p = mmap(NULL, length, protection, flags, fd, offset);
	long r = p == MAP_FAILED ? -errno : 0;
	close(fd);
	if (r == 0)
		munmap(p, length);
	return r;
}

static long mapped(const char *path)
{
	return map(path, PROT_READ, MAP_PRIVATE, 8192, 10000);
}

static long mapped_shared(const char *path)
{
	return map(path, PROT_READ | PROT_WRITE, MAP_SHARED, 0, SIZE);
}

static long mapped_read(const char *path)
{
	int fd = open_or_die(path, O_RDONLY);
	volatile char *p = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	long r = p == MAP_FAILED ? -errno : 0;
	close(fd);
	if (r == 0) {
		r = p[100000] == 1000; /* not that it could be */
		munmap((void *)p, SIZE);
	}
	return r;
}

/* One page of a mapping made before the marks were. */
static volatile char *window;

static long window_open(const char *path)
{
	int fd = open_or_die(path, O_RDONLY);
	window = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	return window == MAP_FAILED ? -errno : 0;
}

static long faulted(const char *path)
{
	(void)path;
	long r = window[100000];
	munmap((void *)window, SIZE);
	return r > 255 ? r : 0;
}

static long keep(const char *path)
{
	kept = open_or_die(path, O_RDONLY);
	return 0;
}

static long kept_read(const char *path)
{
	(void)path;
	long r = result(pread(kept, buffer, 100, 5000));
	close(kept);
	return r;
}

static long executed(const char *path)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execl(path, path, NULL);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : 999;
}

static void mark(int group, unsigned flags, const char *path)
{
	if (fanotify_mark(group, flags, PRE_ACCESS, AT_FDCWD, path) != 0)
		printf("fanotify_mark(%#x, %s): %s\n", flags, path, strerror(errno));
}

static void ignore(int group, const char *path)
{
	mark(group, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, path);
}

/* Its directory. */
static void ignore_above(int group, const char *path)
{
	char above[4096];
	snprintf(above, sizeof(above), "%.*s", (int)(strrchr(path, '/') - path), path);
	ignore(group, above);
}

static void ignore_children(int group, const char *path)
{
	char above[4096];
	snprintf(above, sizeof(above), "%.*s", (int)(strrchr(path, '/') - path), path);
	if (fanotify_mark(group, FAN_MARK_ADD | 0x400 | FAN_MARK_IGNORED_SURV_MODIFY,
	                  PRE_ACCESS | FAN_EVENT_ON_CHILD, AT_FDCWD, above) != 0)
		printf("fanotify_mark: %s\n", strerror(errno));
}

static void unmark(int group, const char *path)
{
	mark(group, FAN_MARK_ADD, path);
	mark(group, FAN_MARK_REMOVE, path);
}

static void ignore_and_back(int group, const char *path)
{
	ignore(group, path);
	mark(group, FAN_MARK_REMOVE | FAN_MARK_IGNORED_MASK, path);
}

#define ALLOW_ALL                                                                                  \
	{                                                                                          \
		0                                                                                  \
	}
#define DENIED(what, e)                                                                            \
	{                                                                                          \
#what " " #e, what, {DENY_ERRNO(e) }, NULL, NULL                                   \
	}
#define DENIED_ALWAYS(what, e)                                                                     \
	{                                                                                          \
#what " " #e, what,                                                                \
		        {DENY_ERRNO(e), DENY_ERRNO(e), DENY_ERRNO(e), DENY_ERRNO(e) }, NULL, NULL  \
	}
#define ROW(what)                                                                                  \
	{                                                                                          \
#what, what, ALLOW_ALL, NULL, NULL                                                 \
	}

const struct row rows[] = {
        ROW(opened),
        ROW(opened_write),
        ROW(opened_trunc),
        ROW(opened_path),
        ROW(stated),
        ROW(stat_open),
        ROW(chmoded),
        ROW(xattr_set),
        ROW(xattr_get),
        ROW(fsynced),
        ROW(synced_range),
        ROW(sought_data),
        ROW(sought_hole),
        ROW(advised),
        ROW(read_ahead),
        ROW(read_start),
        ROW(read_nothing),
        ROW(read_inside),
        ROW(read_across),
        ROW(read_all),
        ROW(read_end),
        ROW(read_beyond),
        ROW(read_large),
        ROW(read_large_file),
        ROW(read_uring),
        ROW(read_direct),
        ROW(read_vector),
        ROW(read_nowait),
        ROW(read_nonblock),
        ROW(spliced),
        ROW(sent),
        ROW(copied),
        ROW(cloned),
        ROW(write_start),
        ROW(write_inside),
        ROW(write_across),
        ROW(write_beyond),
        ROW(write_append),
        ROW(write_direct),
        ROW(write_vector),
        ROW(truncated),
        ROW(truncated_page),
        ROW(truncated_up),
        ROW(truncated_path),
        ROW(allocated),
        ROW(allocated_keep),
        ROW(punched),
        ROW(zeroed),
        ROW(collapsed),
        ROW(inserted),
        ROW(mapped),
        ROW(mapped_shared),
        ROW(mapped_read),
        {"faulted", faulted, ALLOW_ALL, NULL, window_open},
        {"program", executed, ALLOW_ALL, NULL, NULL},
        {"script", executed, ALLOW_ALL, NULL, NULL},
        DENIED(read_inside, EPERM),
        DENIED(read_inside, EIO),
        DENIED(read_inside, EBUSY),
        DENIED(read_inside, ETXTBSY),
        DENIED(read_inside, EAGAIN),
        DENIED(read_inside, ENOSPC),
        DENIED(read_inside, EDQUOT),
        DENIED(read_inside, 0),
        DENIED(write_inside, ENOSPC),
        DENIED(truncated, EBUSY),
        DENIED(truncated_path, EPERM),
        DENIED(allocated, ENOSPC),
        DENIED(punched, EIO),
        DENIED(copied, EIO),
        DENIED_ALWAYS(sent, EBUSY),
        DENIED_ALWAYS(spliced, EPERM),
        DENIED_ALWAYS(mapped, EIO),
        {"program EIO", executed, {DENY_ERRNO(EIO)}, NULL, NULL},
        {"copied second EDQUOT", copied, {FAN_ALLOW, DENY_ERRNO(EDQUOT)}, NULL, NULL},
        /* these are no answers: the event stays, and gets the next one */
        {"read_inside ENOENT", read_inside, {DENY_ERRNO(ENOENT), FAN_ALLOW}, NULL, NULL},
        {"read_inside EINTR", read_inside, {DENY_ERRNO(EINTR), DENY_ERRNO(EIO)}, NULL, NULL},
        {"read_inside allow EIO", read_inside, {FAN_ALLOW | EIO << 24, FAN_ALLOW}, NULL, NULL},
        {"read_inside both", read_inside, {FAN_ALLOW | FAN_DENY, FAN_DENY}, NULL, NULL},
        {"read_inside audit", read_inside, {FAN_ALLOW | FAN_AUDIT, FAN_ALLOW}, NULL, NULL},
        {"kept_read", kept_read, ALLOW_ALL, NULL, keep},
        {"read_inside ignored", read_inside, ALLOW_ALL, ignore, NULL},
        {"read_inside ignored and back", read_inside, ALLOW_ALL, ignore_and_back, NULL},
        {"read_inside unmarked", read_inside, ALLOW_ALL, unmark, NULL},
        {"write_inside ignored", write_inside, ALLOW_ALL, ignore, NULL},
        /* the last ones: these stay */
        {"read_inside ignored above", read_inside, ALLOW_ALL, ignore_above, NULL},
        {"read_inside ignored as a child", read_inside, ALLOW_ALL, ignore_children, NULL}};
const unsigned row_count = sizeof(rows) / sizeof(*rows);
