/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <fcntl.h>
#include <sys/stat.h>
#include "lib/handler.h"

/* A RESULT names a mark or an event: the mount's events stay below this. */
#define MARK_ID (UINT64_C(1) << 63)

static bool flags_fit(unsigned flags, unsigned scope)
{
	if (scope < LACUNA_MARK_MOUNT || scope > LACUNA_MARK_FILE)
		return false;
	return flags == LACUNA_MARK_FLUSH || (flags & ~LACUNA_MARK_IGNORE) == LACUNA_MARK_ADD ||
	       (flags & ~LACUNA_MARK_IGNORE) == LACUNA_MARK_REMOVE;
}

static bool wants_ino(unsigned flags, unsigned scope)
{
	return flags != LACUNA_MARK_FLUSH && scope != LACUNA_MARK_MOUNT;
}

static void marker_begin(struct lacuna_handler *h, struct marker *m)
{
	pthread_cond_init(&m->changed, NULL);
	pthread_mutex_lock(&h->lock);
	m->id = MARK_ID | ++h->marks;
	m->next = h->markers;
	h->markers = m;
	h->users++;
	pthread_mutex_unlock(&h->lock);
}

static void marker_end(struct lacuna_handler *h, struct marker *m)
{
	pthread_mutex_lock(&h->lock);
	struct marker **at = &h->markers;
	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	pthread_mutex_unlock(&h->lock);
	pthread_cond_destroy(&m->changed);
	handler_leave(h);
}

int lacuna_mark_ino(struct lacuna_handler *h, unsigned flags, unsigned scope, uint64_t ino)
{
	ERRNO_KEPT;
	struct marker m = {0};
	if (!flags_fit(flags, scope) || (wants_ino(flags, scope) && ino == 0))
		return -EINVAL;
	marker_begin(h, &m);
	const struct lacuna_mark mark = {
	        .header = {.length = sizeof(mark), .type = LACUNA_MARK, .id = m.id},
	        .scope = scope,
	        .flags = flags,
	        .ino = wants_ino(flags, scope) ? ino : 0};
	int r = handler_send(h, &mark, sizeof(mark));
	if (r == 0)
		r = handler_wait(h, &m, -1, NULL);
	int error = m.error;
	marker_end(h, &m);
	return r < 0 ? r : -error;
}

static int mark_stated(struct lacuna_handler *h, unsigned flags, unsigned scope,
                       const struct statx *st)
{
	if (st->stx_dev_major != h->major || st->stx_dev_minor != h->minor)
		return -EXDEV;
	if (scope == LACUNA_MARK_CHILDREN && !S_ISDIR(st->stx_mode))
		return -ENOTDIR;
	if (scope == LACUNA_MARK_FILE && !S_ISREG(st->stx_mode))
		return S_ISDIR(st->stx_mode) ? -EISDIR : -EINVAL;
	return lacuna_mark_ino(h, flags, scope, st->stx_ino);
}

int lacuna_mark(struct lacuna_handler *h, unsigned flags, unsigned scope, const char *path)
{
	ERRNO_KEPT;
	struct statx st;
	if (!wants_ino(flags, scope))
		return lacuna_mark_ino(h, flags, scope, 0);
	if (!path || !flags_fit(flags, scope))
		return -EINVAL;
	if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO, &st) != 0)
		return -errno;
	return mark_stated(h, flags, scope, &st);
}

int lacuna_mark_fd(struct lacuna_handler *h, unsigned flags, unsigned scope, int fd)
{
	ERRNO_KEPT;
	struct statx st;
	if (!wants_ino(flags, scope))
		return lacuna_mark_ino(h, flags, scope, 0);
	if (!flags_fit(flags, scope))
		return -EINVAL;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &st) != 0)
		return -errno;
	return mark_stated(h, flags, scope, &st);
}
