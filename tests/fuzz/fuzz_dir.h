/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory in memory for targets that parse files; it goes with the process. */
#pragma once
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_dir[64];

static inline void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static inline int fuzz_dir_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static inline void fuzz_dir_end(void)
{
	nftw(fuzz_dir, fuzz_dir_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fuzz_dir_new(void)
{
	g_strlcpy(fuzz_dir, "/dev/shm/lacunafs-fuzz-XXXXXX", sizeof fuzz_dir);
	if (mkdtemp(fuzz_dir) == NULL) {
		g_strlcpy(fuzz_dir, "/tmp/lacunafs-fuzz-XXXXXX", sizeof fuzz_dir);
		check(mkdtemp(fuzz_dir) != NULL);
	}
	atexit(fuzz_dir_end);
}

/* A file with these bytes, below the directory `dir`. */
static inline void fuzz_file(int dir, const char *name, const void *data, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static inline GLogWriterOutput fuzz_log_drop(GLogLevelFlags level, const GLogField *fields,
                                             gsize count, gpointer user)
{
	return G_LOG_WRITER_HANDLED;
}
