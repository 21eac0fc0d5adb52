/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuse/base/mounts.h"
#include "fuse/base/unmount.h"
#include "fuse/cli/client.h"
#include "fuse/cli/holders.h"
#include "fuse/cli/unmounting.h"
#include "fuse/cli/users.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs umount [OPTION] MOUNT...\n"
        "\n"
        "Unmounts, and returns when the daemon has flushed its data and released the\n"
        "store, which can then be mounted again at once.\n"
        "\n"
        "  -l, --lazy   detach now; the file system ends when its last user is gone\n"
        "\n"
        "A busy mount stays; the processes that use it are named.\n";

enum { WAIT_MS = 60000, STEP_MS = 1000, LAZY_WAIT_MS = 1000 };

/* A descriptor by which the daemon's end can be waited for; -1: there is none. */
static int daemon_open(const struct mount *m, pid_t *pid)
{
	struct client *c = client_open(m, NULL);
	if (!c)
		return -1;
	*pid = client_peer(c);
	int fd = *pid > 0 ? (int)syscall(SYS_pidfd_open, *pid, 0) : -1;
	client_close(c);
	return fd;
}

static void complain_busy(const char *point)
{
	g_autoptr(GPtrArray) users = users_of(point, 3);
	GString *names = g_string_new(NULL);
	for (unsigned i = 0; i < users->len; i++)
		g_string_append_printf(names, "%s%s", i ? ", " : ": used by ",
		                       (const char *)users->pdata[i]);
	verb_complain("%s: busy%s", point, names->str);
	g_string_free(names, TRUE);
}

static bool daemon_wait(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;
	while ((n = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	return n > 0;
}

/* A daemon continues while its file system is mounted anywhere. */
static bool daemon_left(int fd, const struct mount *m, pid_t pid)
{
	for (int waited = 0; waited < WAIT_MS; waited += STEP_MS) {
		if (daemon_wait(fd, STEP_MS))
			return true;
		g_autofree char *holders = holders_of(m, pid);
		if (!holders || daemon_wait(fd, 0))
			continue;
		verb_complain("%s: unmounted here, but its daemon (pid %d) keeps running: the file "
		              "system is "
		              "also mounted %s",
		              m->point, (int)pid, holders);
		return false;
	}
	verb_complain("%s: unmounted, but its daemon (pid %d) still holds the store", m->point,
	              (int)pid);
	return false;
}

static bool umount_one(const char *path, bool lazy)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) mounts = mounts_read(&error);
	if (!mounts) {
		verb_complain("%s", error->message);
		return false;
	}
	g_autofree char *point = mount_point_resolve(path);
	g_autofree char *said = NULL;
	const struct mount *m = mounts_at(mounts, point);
	if (!m || !mount_is_ours(m)) {
		verb_complain("%s: not a lacunafs mount", path);
		return false;
	}
	pid_t pid = 0;
	int daemon = daemon_open(m, &pid);
	int code = unmount(point, lazy, &said);
	if (code == EBUSY)
		complain_busy(point);
	else if (code && geteuid() != 0 && m->uid != geteuid())
		verb_complain("%s: mounted by user %u; only that user and root can unmount it",
		              point, (unsigned)m->uid);
	else if (code)
		verb_complain("%s: %s", point, said ? said : g_strerror(code));
	bool ok = !code;
	if (ok && daemon >= 0 && lazy)
		daemon_wait(daemon, LAZY_WAIT_MS);
	else if (ok && daemon >= 0)
		ok = daemon_left(daemon, m, pid);
	if (daemon >= 0)
		close(daemon);
	return ok;
}

static int run(int argc, char **argv)
{
	gboolean lazy = FALSE;
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{"lazy", 'l', 0, G_OPTION_ARG_NONE, &lazy}, {NULL}};
	if (!verb_options(&verb_umount, argc, argv, entries, &paths))
		return EXIT_USAGE;
	if (!paths || !paths[0]) {
		verb_complain("umount: expects a MOUNT");
		return EXIT_USAGE;
	}
	bool ok = true;
	for (char **path = paths; *path; path++)
		ok = umount_one(*path, lazy) && ok;
	return ok ? EXIT_OK : EXIT_FAILED;
}

const struct verb verb_umount = {"umount", run, help};
