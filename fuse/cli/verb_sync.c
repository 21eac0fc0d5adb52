/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "fuse/cli/verb.h"
#include "lacuna/ioctl.h"

static const char help[] =
        "Usage: lacunafs sync PATH...\n"
        "\n"
        "Flushes the mounts that contain these paths, and returns when all local changes\n"
        "and all fetched data are on the disk. syncfs(2) does this for a local file\n"
        "system, and cannot do it for one in user space.\n";

/* syncfs(2) first: the kernel may still have dirty pages of mappings. */
static bool sync_one(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int err = fd < 0 || syncfs(fd) < 0 || ioctl(fd, LACUNA_SYNC) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (err == ENOTTY)
		verb_complain("%s: not in a lacunafs mount", path);
	else if (err)
		verb_complain("%s: %s", path, g_strerror(err));
	return err == 0;
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_sync, argc, argv, entries, &paths))
		return EXIT_USAGE;
	if (!paths || !paths[0]) {
		verb_complain("sync: expects a PATH");
		return EXIT_USAGE;
	}
	bool ok = true;
	for (char **path = paths; *path; path++)
		ok = sync_one(*path) && ok;
	return ok ? EXIT_OK : EXIT_FAILED;
}

const struct verb verb_sync = {"sync", run, help};
