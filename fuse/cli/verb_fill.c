/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/batch.h"
#include "fuse/cli/progress.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs fill PATH...\n"
        "\n"
        "Fetches files, and all files below directories, completely and now, many in\n"
        "parallel. Shows a progress bar on a terminal, elsewhere a line every few\n"
        "seconds. Does not follow symbolic links or cross mounts. Each file that fails is\n"
        "named on a line of its own, and the exit status is 1 if anything is missing.\n"
        "Ctrl-C stops; fetched data stays.\n";

struct fill_run {
	GPtrArray *mounts;
	struct progress progress;
	uint64_t present, fetched; /* before this batch */
};

static void complain(void *user, const char *path, const char *cause)
{
	struct fill_run *job = user;
	progress_clear(&job->progress);
	job->progress.failures++;
	verb_complain("%s: %s", path, cause);
}

static bool walk_goes_on(void *user, const struct filelist *list)
{
	struct fill_run *job = user;
	job->progress.files = list->entries->len;
	job->progress.bytes = list->bytes;
	progress_update(&job->progress);
	return !progress_interrupted(&job->progress);
}

static uint64_t number(JsonObject *o, const char *name)
{
	gint64 value = json_int(o, name, 0);
	return value > 0 ? (uint64_t)value : 0;
}

static void answered(void *user, const char *path, JsonObject *answer)
{
	struct fill_run *job = user;
	const char *error = json_text(answer, "error", NULL);
	if (!json_object_has_member(answer, "ino")) {
		job->progress.present = job->present + number(answer, "bytes");
		job->progress.fetched = job->fetched + number(answer, "fetched");
	} else if (path && error) {
		complain(job, path, error);
	} else if (path) {
		job->progress.files_done++;
	}
	progress_update(&job->progress);
}

/* A daemon counts from 0 in each batch. */
static void begins(void *user)
{
	struct fill_run *job = user;
	job->present = job->progress.present;
	job->fetched = job->progress.fetched;
}

static bool goes_on(void *user)
{
	struct fill_run *job = user;
	return !progress_interrupted(&job->progress);
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) paths = NULL;
	g_autoptr(GError) error = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_fill, argc, argv, entries, &paths))
		return EXIT_USAGE;
	if (!paths || !paths[0]) {
		verb_complain("fill: expects a PATH");
		return EXIT_USAGE;
	}
	struct fill_run job = {.mounts = mounts_read(&error)};
	if (!job.mounts) {
		verb_complain("%s", error->message);
		return EXIT_FAILED;
	}
	const struct filelist_ops ops = {.failed = complain, .walking = walk_goes_on};
	struct filelist *list = filelist_new();
	progress_open(&job.progress);
	job.progress.looking = true;
	filelist_walk(list, paths, job.mounts, &ops, &job);
	walk_goes_on(&job, list);
	job.progress.looking = false;
	const struct batch_ops batch = {"fill", complain, answered, goes_on, begins};
	bool asked = batch_run(list, job.mounts, &batch, &job);
	bool interrupted = progress_interrupted(&job.progress);
	unsigned failures = job.progress.failures;
	progress_close(&job.progress, asked || !failures, interrupted);
	filelist_free(list);
	g_ptr_array_unref(job.mounts);
	return failures || interrupted ? EXIT_FAILED : EXIT_OK;
}

const struct verb verb_fill = {"fill", run, help};
