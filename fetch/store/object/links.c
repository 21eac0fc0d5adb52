/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A kept file that had several remote names: state/links/<ino> is one more name of it, and remote
 * names that no local change has touched are not in the tree yet (pending).
 *
 *      nlink = names of the inode - the index + pending + (names of the inode < base)
 *
 * `base`: a pending name is about to be added to the tree; the inode has that many names then. A
 * step that removes a name settles it first. So the count is right between any two steps. */
#include <errno.h>
#include <sys/xattr.h>
#include "fetch/store/object/object_private.h"

static struct links_disk links_disk(uint32_t pending, uint32_t base)
{
	return (struct links_disk){.pending = GUINT32_TO_LE(pending), .base = GUINT32_TO_LE(base)};
}

int links_read(const struct place *p, uint32_t *pending, uint32_t *base)
{
	struct links_disk d;
	int has = place_xattr(p, LINKS_XATTR, &d, sizeof d);

	if (has == 1) {
		*pending = GUINT32_FROM_LE(d.pending);
		*base = GUINT32_FROM_LE(d.base);
	}
	return has;
}

int links_write(const char *proc, uint32_t pending, uint32_t base)
{
	struct links_disk d = links_disk(pending, base);

	return lsetxattr(proc, LINKS_XATTR, &d, sizeof d, 0) < 0 ? -errno : 0;
}

int links_begin(int fd, uint32_t nlink)
{
	struct links_disk d;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	d = links_disk(nlink + 1 > st.st_nlink ? nlink + 1 - st.st_nlink : 0, 0);
	return fsetxattr(fd, LINKS_XATTR, &d, sizeof d, 0) < 0 ? -errno : 0;
}

int links_count(const struct place *p, struct stat *st)
{
	uint32_t pending, base;
	int has = links_read(p, &pending, &base);

	if (has == 1)
		st->st_nlink = st->st_nlink - 1 + pending + (st->st_nlink < base);
	return has;
}
