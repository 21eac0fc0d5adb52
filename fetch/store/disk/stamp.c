/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/disk/stamp.h"

void stamp_begin(struct store *s, int dir, struct stamp *out)
{
	struct stat st = {0};

	rwlock_wrlock(&s->stamps);
	out->dir = fstatat(dir, ".", &st, 0) == 0 ? dir : -1;
	out->mtime = st.st_mtim;
}

void stamp_end(struct store *s, const struct stamp *stamp)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, stamp->mtime};

	if (stamp->dir >= 0)
		utimensat(stamp->dir, ".", times, 0);
	rwlock_unlock(&s->stamps);
}

void stamp_change_begin(struct store *s)
{
	rwlock_rdlock(&s->stamps);
}

void stamp_change_end(struct store *s)
{
	rwlock_unlock(&s->stamps);
}
