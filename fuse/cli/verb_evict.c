/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* evict and refresh: both leave files to the source. */
#include <stdio.h>
#include "fuse/base/human.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/batch.h"
#include "fuse/cli/verb.h"

static const char evict_help[] =
        "Usage: lacunafs evict PATH...\n"
        "\n"
        "Drops the cached data of files, and of all files below directories. Copies of\n"
        "files that the source no longer lists go first. Local changes stay, and so does\n"
        "data that the source cannot supply again. A file that is open, mapped, running,\n"
        "sealed or pinned is skipped and named on a line of its own; the exit status is\n"
        "then 1. Concurrent opens of a file block until its eviction is done.\n";

static const char refresh_help[] =
        "Usage: lacunafs refresh [PATH...]\n"
        "\n"
        "Takes newer versions from the source, for files and for all files below\n"
        "directories (without PATH: the current directory). Lists directories again, and\n"
        "drops the cached data of files that have another version at the source; new data\n"
        "is fetched on access, or by lacunafs fill. A file is replaced as a whole or not\n"
        "at all: a file that is changed locally, open, mapped, running or sealed is\n"
        "skipped and named on a line of its own; the exit status is then 1.\n";

struct evict_run {
	const struct batch_ops *ops;
	GPtrArray *mounts;
	uint64_t bytes, newer; /* evicted; files with another version */
	unsigned failures;
};

static void complain(void *user, const char *path, const char *cause)
{
	struct evict_run *job = user;
	job->failures++;
	verb_complain("%s: %s", path, cause);
}

static bool goes_on(void *user)
{
	return true; /* a signal ends the command, and the daemon notices */
}

static bool walk_goes_on(void *user, const struct filelist *list)
{
	return true;
}

static void walk_directory(void *user, const char *path, dev_t dev, ino_t ino)
{
	struct evict_run *job = user;
	batch_run_directory(path, dev, ino, job->mounts, job->ops, job);
}

static void answered(void *user, const char *path, JsonObject *answer)
{
	struct evict_run *job = user;
	const char *error = json_text(answer, "error", NULL);
	int64_t bytes = json_int(answer, "bytes", 0);
	job->bytes += MAX(bytes, 0);
	if (path && error)
		complain(job, path, error);
	else if (json_true(answer, "newer"))
		job->newer++;
}

/* `anew`: directories are listed again before they are read. */
static int leave(const struct batch_ops *ops, char **paths, bool anew)
{
	g_autoptr(GError) error = NULL;
	struct evict_run job = {.ops = ops, .mounts = mounts_read(&error)};
	if (!job.mounts) {
		verb_complain("%s", error->message);
		return EXIT_FAILED;
	}
	const struct filelist_ops walk = {.failed = complain,
	                                  .walking = walk_goes_on,
	                                  .directory = anew ? walk_directory : NULL,
	                                  .listed = anew ? NULL : walk_directory};
	struct filelist *list = filelist_new();
	filelist_walk(list, paths, job.mounts, &walk, &job);
	batch_run(list, job.mounts, ops, &job);
	g_autofree char *bytes = human_size(job.bytes);
	if (anew)
		printf("%" G_GUINT64_FORMAT " updated, %s freed\n", job.newer, bytes);
	else
		printf("%s freed\n", bytes);
	filelist_free(list);
	g_ptr_array_unref(job.mounts);
	return job.failures ? EXIT_FAILED : EXIT_OK;
}

static int evict(int argc, char **argv)
{
	static const struct batch_ops ops = {"evict", complain, answered, goes_on};
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_evict, argc, argv, entries, &paths))
		return EXIT_USAGE;
	if (!paths || !paths[0]) {
		verb_complain("evict: expects a PATH");
		return EXIT_USAGE;
	}
	return leave(&ops, paths, false);
}

static int refresh(int argc, char **argv)
{
	static const struct batch_ops ops = {"refresh", complain, answered, goes_on};
	static char *here[] = {".", NULL};
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_refresh, argc, argv, entries, &paths))
		return EXIT_USAGE;
	return leave(&ops, paths && paths[0] ? paths : here, true);
}

const struct verb verb_evict = {"evict", evict, evict_help};
const struct verb verb_refresh = {"refresh", refresh, refresh_help};
