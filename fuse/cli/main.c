/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include "fuse/cli/resume.h"
#include "fuse/cli/verb.h"
#include "fuse/keeper/handover.h"

static const char help[] =
        "Usage: lacunafs VERB [ARGUMENT]...\n"
        "\n"
        "Mounts a remote tree as a local, writable one. All files look complete; data is\n"
        "fetched when a process reads, maps or executes it, and stays on the local disk.\n"
        "\n"
        "  mount SOURCE MOUNTPOINT   mount a directory or a web server's tree\n"
        "  umount MOUNT...           unmount, and wait until the store is free\n"
        "  upgrade MOUNT             this program takes over a live mount\n"
        "  status [MOUNT|PATH]...    show cached data, transfers and waiting processes\n"
        "  fill PATH...              fetch files and whole directories now\n"
        "  evict PATH...             drop cached data\n"
        "  pin PATH...               keep cached data of files and directories\n"
        "  unpin PATH...             remove pins\n"
        "  refresh [PATH]...         take newer versions from the source\n"
        "  seal PATH [SEALS]         add memfd's seals to a file\n"
        "  sync PATH...              flush all changes of a mount to the disk\n"
        "  metrics MOUNT             print counters as OpenMetrics text\n"
        "  verify [PATH]             check a store; --repair it\n"
        "  publish DIR               write an index of a tree, for mounts of it\n"
        "  hsm COMMAND...            run a program for fanotify pre-content events\n"
        "  trace MOUNT               print each request to handlers and to the source\n"
        "  handlers MOUNT            list the handlers of a mount; --dismiss a dead one\n"
        "\n"
        "  --help       this text; after a verb, the help of that verb\n"
        "  --version    print the version; the manual: man lacunafs\n";

static const struct verb *const verbs[] = {
        &verb_mount,   &verb_umount,  &verb_status, &verb_fill,    &verb_evict,  &verb_pin,
        &verb_unpin,   &verb_refresh, &verb_seal,   &verb_sync,    &verb_trace,  &verb_handlers,
        &verb_metrics, &verb_verify,  &verb_hsm,    &verb_publish, &verb_upgrade};

static bool wants_help(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* A full disk or a closed pipe behind stdout is a failure too. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	verb_complain("cannot write to standard output");
	return status ? status : EXIT_FAILED;
}

/* A pipe or a socket that got the number of a closed standard stream would be taken for it: each
 * such number is held by a descriptor that can be neither read (0) nor written (1, 2), as if it
 * were closed; a program that we execute does not get it. */
static bool streams_hold(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		int mode = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode | O_CLOEXEC) != fd)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	if (!streams_hold())
		return EXIT_FAILED; /* there is no stream to report it to */
	setlocale(LC_CTYPE, "");    /* messages stay in one language, numbers in one form */
	const char *name = argc > 1 ? argv[1] : NULL;
	if (!name) {
		verb_complain("no verb: expects mount, umount, status, fill, evict, pin, unpin, "
		              "refresh, seal, sync, "
		              "trace, handlers, metrics, verify, publish, upgrade or hsm; see "
		              "lacunafs --help");
		return EXIT_USAGE;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		fputs(help, stdout);
		return finish(EXIT_OK);
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		printf("lacunafs %s (libfuse %s)\n", LACUNAFS_VERSION, fuse_pkgversion());
		return finish(EXIT_OK);
	}
	if (g_str_has_prefix(name, HANDOVER_OPTION))
		return resume_run(name + strlen(HANDOVER_OPTION));
	/* "SOURCE MOUNTPOINT -o OPTIONS" is how mount(8) calls the program of a type fuse.lacunafs
	 */
	if (strpbrk(name, "/:"))
		return finish(verb_mount.run(argc - 1, argv + 1));
	for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
		if (strcmp(verbs[i]->name, name) != 0)
			continue;
		if (wants_help(argc - 2, argv + 2)) {
			fputs(verbs[i]->help, stdout);
			return finish(EXIT_OK);
		}
		return finish(verbs[i]->run(argc - 2, argv + 2));
	}
	verb_complain(
	        "unknown verb %s: expects mount, umount, status, fill, evict, pin, unpin, "
	        "refresh, seal, sync, trace, handlers, metrics, verify, publish, upgrade or hsm",
	        name);
	return EXIT_USAGE;
}
