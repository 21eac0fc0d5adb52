/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/mounter.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/mounts.h"
#include "fuse/base/streams.h"
#include "fuse/base/unmount.h"
#include "fuse/daemon/mounting.h"
#include "fuse/daemon/mountpoint.h"

/* The output of a program that libfuse starts; its standard error was `file` meanwhile. Caller
 * frees. */
static char *heard(int file)
{
	char text[2048];
	ssize_t n = file < 0 ? 0 : pread(file, text, sizeof(text) - 1, 0);
	text[MAX(n, 0)] = '\0';
	g_autofree char *words = g_strstrip(g_strdup(text));
	g_auto(GStrv) lines = g_strsplit(words, "\n", -1);
	for (char **line = lines; *line; line++)
		if (g_str_has_prefix(*line, "fusermount3: "))
			memmove(*line, *line + 13, strlen(*line + 13) + 1);
	return g_strjoinv("; ", lines);
}

static dev_t device_of(const struct mount *m)
{
	return makedev(m->major, m->minor);
}

/* If fusermount3 fails with our type, libfuse retries without: no tool would find such a mount. */
static bool identify(struct server *s, GError **error)
{
	const char *point = s->settings->mountpoint;
	g_autoptr(GPtrArray) mounts = mounts_read(NULL);
	const struct mount *m = mounts ? mounts_at(mounts, point) : NULL;
	if (m && strcmp(m->type, "fuse") == 0) {
		fuse_session_unmount(s->session);
		g_set_error(error, LOCAL_ERROR, EIO,
		            "%s: could not be mounted as " MOUNT_TYPE ", only as fuse", point);
		return false;
	}
	s->device = m && mount_is_ours(m) ? device_of(m) : 0;
	return true;
}

/* *said: what a program printed. */
static bool mount_now(struct server *s, char **said, GError **error)
{
	const char *point = s->settings->mountpoint;
	int file = memfd_create("said", MFD_CLOEXEC);
	bool lent = file >= 0 && streams_lend(file);
	g_free(mounting_complaint());
	bool ok = fuse_session_mount(s->session, point) == 0;
	if (lent)
		streams_return();
	g_autofree char *words = heard(file);
	if (file >= 0)
		close(file);
	g_autofree char *complaint = mounting_complaint();
	if (!ok)
		g_set_error(error, LOCAL_ERROR, EIO, "%s: %s", point,
		            *words      ? words
		            : complaint ? complaint
		                        : "libfuse gives no reason");
	else if (*words)
		*said = g_steal_pointer(&words);
	return ok && identify(s, error);
}

int mounter_mount(struct server *s, char **said, GError **error)
{
	const char *point = s->settings->mountpoint;
	struct mountpoint_lock lock;
	*said = NULL;
	if (!mounting_prepare(s, error) || !mountpoint_lock(point, &lock, error))
		return -1;
	bool ok = mountpoint_is_free(point, error) && mount_now(s, said, error);
	mountpoint_unlock(&lock);
	int fd = ok ? fcntl(fuse_session_fd(s->session), F_DUPFD_CLOEXEC, 3) : -1;
	if (ok && fd < 0)
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", point, g_strerror(errno));
	if (fd >= 0)
		mounting_drop(s); /* while this process had it, the connection would go on */
	return fd;
}

/* libfuse unmounts the topmost mount at the path. */
static bool is_covered(const struct server *s)
{
	g_autoptr(GPtrArray) mounts = mounts_read(NULL);
	const struct mount *m = mounts ? mounts_at(mounts, s->settings->mountpoint) : NULL;
	return s->device && m && device_of(m) != s->device;
}

int mounter_unmount(struct server *s, bool gone, char **note)
{
	*note = NULL;
	if (is_covered(s))
		return EBUSY;
	return gone ? 0 : unmount(s->settings->mountpoint, true, note);
}
