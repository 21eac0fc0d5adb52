/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by the files of the directory source. */
#pragma once
#include <sys/stat.h>
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fetch/source/base/source.h"

struct dir_source {
	struct source source;
	char *root;           /* owned */
	struct mutex opening; /* covers the next two until the root is open */
	int fd;               /* of it, O_PATH; -1: it could not be opened yet */
	uint64_t device;      /* of it */
	struct pool *pool;
	int closing; /* atomic */
	bool mirrored;
	bool dated; /* versions are those of source_version_dated() */
	bool own;   /* every entry belongs to: */
	uint32_t uid, gid;
};

#define DIR_STATX (STATX_BASIC_STATS | STATX_BTIME)

/* The time of a statx in ns since 1970. */
int64_t dir_time(const struct statx_timestamp *t);
uint64_t dir_ino(const struct dir_source *d, const struct statx *st);
/* Changes with every change of the file. */
source_version dir_instance(const struct dir_source *d, const struct statx *st);
/* The version as other mirrors know it, too. */
source_version dir_version(const struct dir_source *d, const struct statx *st);
/* FETCH_ERROR or LOCAL_ERROR for the errno of a system call on `path`. */
void dir_fail(struct dir_source *d, const char *path, int err, GError **error);
/* false with FETCH_CHANGED. */
bool dir_meets(struct dir_source *d, const char *path, const struct statx *st,
               enum source_demand demand, int64_t listed_ns, GError **error);
/* false with FETCH_CANCELLED: the source is being closed. */
bool dir_goes_on(struct dir_source *d, GError **error);

/* On the pool: */
bool dir_list(struct dir_source *d, struct source_list *req, GError **error);
bool dir_read(struct dir_source *d, struct source_read *req, GError **error);
/* The xattrs of `name` in the directory `fd`; NULL: none. */
GBytes *dir_xattrs(int fd, const char *name);
