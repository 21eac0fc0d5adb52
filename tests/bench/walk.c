/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Walks a tree as find, tar or a compiler's driver would.
 * Usage:  walk stat|read|sum|open|open-rw DIRECTORY
 *         stat: lstat of every entry. read: every regular file from open to end of file,
 *         in the order of readdir. sum: the same, hashed. open: the names are collected
 *         first, then every regular file is opened and closed. open-rw: so for writing
 * Output: ns entries files directories bytes hash; hash is independent of the order
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"

enum mode { STAT, READ, SUM, OPEN, OPEN_RW, MODES };

static enum mode mode;
static uint64_t entries, files, directories, bytes, hash;
static unsigned char buffer[1 << 20];
static char **names; /* OPEN, OPEN_RW: paths of the regular files, from the working directory */
static size_t names_capacity;

static void file_read(int directory, const char *name)
{
	uint64_t sum = mix(0, (const unsigned char *)name, strlen(name));
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		err(1, "%s", name);
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));
		if (n < 0)
			err(1, "%s", name);
		if (n == 0)
			break;
		bytes += (uint64_t)n;
		if (mode == SUM)
			sum = mix(sum, buffer, (size_t)n);
	}
	close(fd);
	hash += sum;
}

static void file_collect(const char *path)
{
	if (files == names_capacity) {
		names_capacity = names_capacity ? names_capacity * 2 : 4096;
		names = realloc(names, names_capacity * sizeof(*names));
		if (!names)
			err(1, "realloc");
	}
	names[files] = strdup(path);
	if (!names[files])
		err(1, "strdup");
}

static void directory_walk(int fd, const char *path)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	if (!d)
		err(1, "%s", path);
	directories++;
	while ((e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		entries++;
		struct stat st = {.st_mode = DTTOIF(e->d_type)};
		if (mode == STAT || e->d_type == DT_UNKNOWN)
			if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
				err(1, "%s/%s", path, e->d_name);
		if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
			continue;
		char below[4096];
		if (snprintf(below, sizeof(below), "%s/%s", path, e->d_name) >= (int)sizeof(below))
			errx(1, "%s/%s: too long", path, e->d_name);
		if (S_ISDIR(st.st_mode)) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (sub < 0)
				err(1, "%s", below);
			directory_walk(sub, below);
			continue;
		}
		if (mode == STAT)
			bytes += (uint64_t)st.st_size;
		else if (mode == OPEN || mode == OPEN_RW)
			file_collect(below);
		else
			file_read(dirfd(d), e->d_name);
		files++;
	}
	closedir(d);
}

static void files_open(int flags)
{
	for (size_t i = 0; i < files; i++) {
		int fd = open(names[i], flags | O_CLOEXEC);
		if (fd < 0)
			err(1, "%s", names[i]);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static const char *const modes[] = {"stat", "read", "sum", "open", "open-rw"};
	while (argc == 3 && mode < MODES && strcmp(argv[1], modes[mode]) != 0)
		mode++;
	if (argc != 3 || mode == MODES)
		errx(2, "usage: walk stat|read|sum|open|open-rw DIRECTORY");
	int64_t began = clock_ns();
	if (chdir(argv[2]) != 0)
		err(1, "%s", argv[2]);
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", argv[2]);
	directory_walk(fd, ".");
	if (mode == OPEN || mode == OPEN_RW) {
		began = clock_ns();
		files_open(mode == OPEN ? O_RDONLY : O_RDWR);
	}
	printf("%lld %llu %llu %llu %llu %llx\n", (long long)(clock_ns() - began),
	       (unsigned long long)entries, (unsigned long long)files,
	       (unsigned long long)directories, (unsigned long long)bytes,
	       (unsigned long long)hash);
	return 0;
}
