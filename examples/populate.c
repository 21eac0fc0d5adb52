/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* populate SOURCE STUBS: creates in STUBS a tree of the same names, sizes, modes and times, whose
 * files are one hole each. A mount of STUBS with remote-fetch attached shows SOURCE's content. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t source_length;
static int stubs; /* the directory */

static int stub_file(const char *path, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	int fd = openat(stubs, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int r = ftruncate(fd, st->st_size);
	if (r == 0)
		r = fchmod(fd, st->st_mode & 07777);
	if (r == 0)
		r = futimens(fd, times);
	close(fd);
	return r;
}

static int stub_link(const char *from, const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(from, target, sizeof(target) - 1);
	if (n < 0)
		return -1;
	target[n] = '\0';
	return symlinkat(target, stubs, path);
}

static int stub(const char *from, const struct stat *st, int type, struct FTW *where)
{
	const char *path = from + source_length;
	int r = 0;
	path += strspn(path, "/");
	if (*path == '\0')
		return 0; /* the root */
	if (type == FTW_D)
		r = mkdirat(stubs, path, (st->st_mode & 07777) | 0700);
	else if (type == FTW_F && S_ISREG(st->st_mode))
		r = stub_file(path, st);
	else if (type == FTW_SL)
		r = stub_link(from, path);
	else
		fprintf(stderr, "populate: %s: left out\n", from);
	if (r != 0)
		fprintf(stderr, "populate: %s: %s\n", from, strerror(errno));
	return r;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: populate SOURCE STUBS\n");
		return 2;
	}
	if (mkdir(argv[2], 0755) != 0 && errno != EEXIST) {
		perror(argv[2]);
		return 1;
	}
	stubs = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	source_length = strlen(argv[1]);
	if (stubs < 0 || nftw(argv[1], stub, 64, FTW_PHYS) == -1)
		perror(argv[stubs < 0 ? 2 : 1]);
	else
		return 0;
	return 1;
}
