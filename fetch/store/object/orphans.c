/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files that were set aside. Most have no use once they are closed: cached files, still as the
 * store made them, whose map was lost. The others may hold a user's data, and stay. */
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/object_private.h"

static bool is_ours_alone(int dir, const char *name, struct record *r, nlink_t *links)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st = {0};
	bool ours;

	if (fd < 0)
		return false;
	ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && record_read(fd, r) == 0 &&
	       !(r->flags & RECORD_KEPT) && r->ino == st.st_ino && r->size == (uint64_t)st.st_size;
	close(fd);
	*links = st.st_nlink;
	return ours;
}

static int sweep(int fd, struct dirent *e, void *user)
{
	struct store *s = user;
	struct record r;
	nlink_t links;

	if (is_ours_alone(fd, e->d_name, &r, &links) && unlinkat(fd, e->d_name, 0) == 0 &&
	    links == 1 && record_chunks(&r) > 1)
		shard_unlink(s->state, "maps", r.id);
	return 0;
}

static int count(int fd, struct dirent *e, void *user)
{
	uint64_t *n = user;

	*n += 1;
	return 0;
}

uint64_t store_set_aside(struct store *s)
{
	uint64_t n = 0;

	entries_foreach(path_open(s->state, "orphans", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                count, &n);
	return n;
}

void orphans_sweep(struct store *s)
{
	entries_foreach(path_open(s->state, "orphans", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
	                sweep, s);
}
