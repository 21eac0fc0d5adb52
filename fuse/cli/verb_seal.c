/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "fuse/base/seal.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs seal PATH [SEALS]\n"
        "\n"
        "Adds seals to a file of a mount, permanently; without SEALS, prints its seals.\n"
        "They are those of memfd_create(2), as a comma-separated list of\n"
        "  write          no change of data, no shared writable mapping\n"
        "  future-write   the same, except through existing mappings\n"
        "  shrink, grow   no smaller, no larger size\n"
        "  exec           no change of the x bits; on a program, also the four above\n"
        "  seal           no further seals\n"
        "\n"
        "A sealed file keeps its version; its data is still fetched on access.\n";

static int fail(const char *path, int err)
{
	if (err == ENOTTY)
		verb_complain("%s: not a file of a lacunafs mount", path);
	else if (err == EISDIR || (err == EINVAL && g_file_test(path, G_FILE_TEST_IS_DIR)))
		verb_complain("%s: a directory; only files have seals", path);
	else if (err == EBUSY)
		verb_complain("%s: open or mapped for writing", path);
	else
		verb_complain("%s: %s", path, g_strerror(err));
	return EXIT_FAILED;
}

static int show(const char *path)
{
	uint32_t seals = 0;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int err = fd < 0 || ioctl(fd, LACUNA_GET_SEALS, &seals) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	if (err)
		return fail(path, err);
	g_autofree char *text = seal_format(seals);
	printf("%s\n", text);
	return EXIT_OK;
}

static int add(const char *path, const char *text)
{
	g_autoptr(GError) error = NULL;
	uint32_t seals;
	if (!seal_parse(text, &seals, &error)) {
		verb_complain("seal: %s", error->message);
		return EXIT_USAGE;
	}
	/* access mode 3: for ioctls alone, denies and is denied nothing (lacuna/ioctl.h) */
	int fd = open(path, O_ACCMODE | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int err = fd < 0 || ioctl(fd, LACUNA_ADD_SEALS, &seals) < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	return err ? fail(path, err) : EXIT_OK;
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) rest = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_seal, argc, argv, entries, &rest))
		return EXIT_USAGE;
	unsigned count = rest ? g_strv_length(rest) : 0;
	if (count < 1 || count > 2) {
		verb_complain("seal: expects a PATH, and SEALS to add");
		return EXIT_USAGE;
	}
	return count == 1 ? show(rest[0]) : add(rest[0], rest[1]);
}

const struct verb verb_seal = {"seal", run, help};
