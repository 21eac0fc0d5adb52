/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/mountpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/mounts.h"
#include "fuse/base/rendezvous.h"

#define LOCK_TRIES 1000
#define LOCK_PAUSE 10000 /* µs */

static bool refuse(GError **error, const char *point, int code, const char *why)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", point, why);
	return false;
}

bool mountpoint_is_free(const char *point, GError **error)
{
	g_autoptr(GPtrArray) mounts = mounts_read(error);
	if (!mounts)
		return false;
	const struct mount *m = mounts_at(mounts, point);
	g_autofree char *why = m ? g_strdup_printf("busy: %s is mounted there", m->source) : NULL;
	return !m || refuse(error, point, EBUSY, why);
}

/* A descriptor; -EAGAIN: another process has the lock, or has just removed the file; -errno. */
static int try_lock(const char *path)
{
	struct stat mine, there;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int err = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno : 0;
	if (!err && (fstat(fd, &mine) < 0 || stat(path, &there) < 0 || mine.st_ino != there.st_ino))
		err = EAGAIN;
	if (!err)
		return fd;
	close(fd);
	return err == EWOULDBLOCK ? -EAGAIN : -err;
}

bool mountpoint_lock(const char *point, struct mountpoint_lock *out, GError **error)
{
	struct stat st;
	int fd = -EAGAIN;
	*out = (struct mountpoint_lock){.fd = -1};
	g_autofree char *directory = rendezvous_directory(geteuid(), true, NULL);
	if (!directory)
		return true;
	if (stat(point, &st) < 0)
		return refuse(error, point, errno, g_strerror(errno));
	g_autofree char *path = g_strdup_printf("%s/mounting.%" PRIx64 ".%" PRIx64, directory,
	                                        (uint64_t)st.st_dev, (uint64_t)st.st_ino);
	for (int n = 0; n < LOCK_TRIES && (fd = try_lock(path)) == -EAGAIN; n++)
		usleep(LOCK_PAUSE);
	if (fd == -EAGAIN)
		return refuse(error, point, EBUSY, "busy: somebody else is mounting there");
	if (fd < 0) {
		g_message("%s: %s", path, g_strerror(-fd));
		return true;
	}
	out->path = g_steal_pointer(&path);
	out->fd = fd;
	return true;
}

void mountpoint_unlock(struct mountpoint_lock *l)
{
	if (!l->path)
		return;
	unlink(l->path);
	close(l->fd);
	g_clear_pointer(&l->path, g_free);
}
