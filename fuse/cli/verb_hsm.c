/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/path.h"
#include "fuse/cli/verb.h"

enum { EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 }; /* as of env(1) */

static const char help[] =
        "Usage: lacunafs hsm [OPTION]... -- COMMAND [ARGUMENT]...\n"
        "\n"
        "Runs a program written for fanotify's pre-content events, FAN_PRE_ACCESS, on\n"
        "lacunafs mounts: the program becomes a handler of each mount in which it sets a\n"
        "mark. On these mounts it needs neither root nor a recent kernel.\n"
        "\n"
        "  --mount PATH   only this mount; the program sees others as any file system\n"
        "  --name NAME    name of the handler; it inherits the marks of a dead handler\n"
        "                 of that name\n"
        "\n"
        "The program's exit status and signals are its own.\n";

/* `path` and every directory above it belong to root, to the caller or to `owner`, and no other
 * user can put another file in their place: the library runs as the caller. A group of the same
 * number as its user has no other members by convention. */
static gboolean trusted(const char *path, uid_t owner)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return FALSE;
	gboolean shared = (st.st_mode & 020) && st.st_gid != st.st_uid;
	gboolean open =
	        (shared || (st.st_mode & 002)) && !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX));
	if (open || (st.st_uid != 0 && st.st_uid != getuid() && st.st_uid != owner))
		return FALSE;
	g_autofree char *parent = g_path_get_dirname(path);
	return strcmp(path, "/") == 0 || trusted(parent, owner);
}

/* The installed library; or the one beside a program in its build tree, whose owner is trusted,
 * since that program was called. */
static char *library_find(void)
{
	struct stat st;
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self));
	if (n > 0 && n < (ssize_t)sizeof(self)) {
		g_autofree char *program = g_strndup(self, (size_t)n);
		g_autofree char *folder = g_path_get_dirname(program);
		g_autofree char *top = g_path_get_dirname(folder);
		g_autofree char *built = g_build_filename(top, "lib/hsm/lacunafs-hsm.so", NULL);
		g_autofree char *real = realpath(built, NULL);
		if (real && stat("/proc/self/exe", &st) == 0 && trusted(real, st.st_uid))
			return g_steal_pointer(&real);
		if (real && access(LACUNAFS_LIBRARIES "/lacunafs-hsm.so", R_OK) != 0)
			verb_complain("%s: not used: others may change it", real);
	}
	return g_strdup(LACUNAFS_LIBRARIES "/lacunafs-hsm.so");
}

/* In front of libraries that are preloaded already. LD_PRELOAD has no way to quote. */
static gboolean preload(const char *library)
{
	const char *others = g_getenv("LD_PRELOAD");
	g_autofree char *all = g_strjoin(":", library, others, NULL);
	if (strpbrk(library, ": ")) {
		verb_complain("%s: cannot be preloaded from a path with colons or blanks", library);
		return FALSE;
	}
	if (access(library, R_OK) != 0) {
		verb_complain("%s: %s", library, g_strerror(errno));
		return FALSE;
	}
	return g_setenv("LD_PRELOAD", others && *others ? all : library, TRUE);
}

static gboolean mount_pass(const char *mount)
{
	g_autofree char *whole = path_absolute(mount);
	g_autofree char *path = whole ? g_canonicalize_filename(whole, NULL) : NULL;
	struct stat st;
	if (path && stat(path, &st) == 0)
		return g_setenv("LACUNAFS_HSM_MOUNT", path, TRUE);
	verb_complain("%s: %s", mount, g_strerror(errno));
	return FALSE;
}

/* The end of the options of lacunafs: later ones are the command's. */
static int options_end(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0 || argv[i][0] != '-')
			return i;
		if (strcmp(argv[i], "--mount") == 0 || strcmp(argv[i], "--name") == 0)
			i++;
	}
	return argc;
}

static int run(int argc, char **argv)
{
	g_autofree char *mount = NULL, *name = NULL;
	g_auto(GStrv) none = NULL;
	const GOptionEntry entries[] = {{"mount", 0, 0, G_OPTION_ARG_FILENAME, &mount, NULL, NULL},
	                                {"name", 0, 0, G_OPTION_ARG_STRING, &name, NULL, NULL},
	                                {NULL}};
	int end = options_end(argc, argv);
	if (!verb_options(&verb_hsm, end, argv, entries, &none))
		return EXIT_USAGE;
	char **command = argv + end + (end < argc && strcmp(argv[end], "--") == 0);
	if (command >= argv + argc) {
		verb_complain("hsm: expects a COMMAND");
		return EXIT_USAGE;
	}
	g_autofree char *library = library_find();
	if ((mount && !mount_pass(mount)) || !preload(library))
		return EXIT_FAILED;
	if (name)
		g_setenv("LACUNAFS_HSM_NAME", name, TRUE);
	execvp(*command, command);
	int missing = errno == ENOENT;
	verb_complain("%s: %s", *command, g_strerror(errno));
	return missing ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}

const struct verb verb_hsm = {"hsm", run, help};
