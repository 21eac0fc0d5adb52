/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The mark of a local directory, in its xattr: format.h. */
#include <errno.h>
#include <sys/xattr.h>
#include "fetch/store/object/object_private.h"

int mark_read(const struct place *p, struct mark_disk *out)
{
	struct mark_disk m;
	ssize_t n = place_getxattr(p, RECORD_XATTR, &m, sizeof m);

	if (n < 0)
		return errno == EOPNOTSUPP || errno == ERANGE ? -ENODATA : -errno;
	if (n != sizeof m || m.format != STORE_FORMAT || m.id == 0)
		return -ENODATA;
	m.id = GUINT64_FROM_LE(m.id);
	*out = m;
	return 0;
}

int mark_write(struct store *s, const char *proc, uint8_t flags, uint64_t id)
{
	struct mark_disk m = {.format = STORE_FORMAT, .flags = flags, .id = GUINT64_TO_LE(id)};

	return lsetxattr(proc, RECORD_XATTR, &m, sizeof m, 0) < 0 ? -errno : 0;
}
