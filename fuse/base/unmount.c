/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/unmount.h"
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

static int unmount_helped(const char *point, bool lazy, char **said)
{
	const char *argv[] = {"fusermount3", lazy ? "-uz" : "-u", "--", point, NULL};
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	int status = 0;
	if (!g_spawn_sync("/", (char **)argv, NULL,
	                  G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &text,
	                  &status, &error)) {
		*said = g_strdup(error->message);
		return EIO;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	g_strchomp(text);
	if (strstr(text, g_strerror(EBUSY)))
		return EBUSY;
	*said = g_strdup(*text ? text : "fusermount3 failed");
	return EIO;
}

int unmount(const char *point, bool lazy, char **said)
{
	g_autofree char *unwanted = NULL;
	if (umount2(point, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? unmount_helped(point, lazy, said ? said : &unwanted) : errno;
}
