/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/cli/unmounting.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/mounts.h"
#include "fuse/base/unmount.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

enum { DEAD_MAX = 16, PROBE_MS = 5000 };

/* Calls statfs(2), which always asks a FUSE mount's daemon: in a child, since the call blocks on a
 * hung daemon until that is killed. 0, an errno, or ETIMEDOUT. */
static int probe(const char *point)
{
	struct statfs fs;
	int status = 0;
	pid_t child = fork();
	if (child == 0)
		_exit(statfs(point, &fs) == 0 ? 0 : errno);
	if (child < 0)
		return errno;
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
	bool ended = p.fd >= 0 && poll(&p, 1, PROBE_MS) > 0;
	if (!ended)
		kill(child, SIGKILL);
	if (p.fd >= 0)
		close(p.fd);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return !ended ? ETIMEDOUT : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static bool is_dead(const struct mount *m)
{
	if (!mount_is_ours(m) || (geteuid() != 0 && m->uid != geteuid()))
		return false;
	struct client *c = client_open(m, NULL);
	client_close(c);
	int code = c ? 0 : probe(m->point);
	return code == ENOTCONN || code == ECONNABORTED;
}

/* Is it still the mount that was looked at? */
static bool is_topmost(const struct mount *m)
{
	g_autoptr(GPtrArray) now = mounts_read(NULL);
	const struct mount *top = now ? mounts_at(now, m->point) : NULL;
	return top && top->major == m->major && top->minor == m->minor && mount_is_ours(top);
}

bool unmount_dead(const char *point, GError **error)
{
	for (unsigned n = 0; n < DEAD_MAX; n++) {
		g_autofree char *said = NULL;
		g_autoptr(GPtrArray) mounts = mounts_read(error);
		if (!mounts)
			return false;
		const struct mount *m = mounts_at(mounts, point);
		if (!m || !is_dead(m) || !is_topmost(m))
			return true;
		int code = unmount(point, true, &said);
		if (code) {
			g_set_error(error, LOCAL_ERROR, code,
			            "%s: cannot unmount the mount of a dead daemon: %s", point,
			            said ? said : g_strerror(code));
			return false;
		}
		verb_complain("%s: unmounted the mount of a dead daemon", point);
	}
	return true;
}
