/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fetch/error.h"
#include "fuse/client.h"
#include "fuse/filelist.h"
#include "fuse/mounts.h"
#include "fuse/progress.h"
#include "fuse/request.h"
#include "fuse/verb.h"

static const char help[] =
        "Usage: lacunafs fill PATH...\n"
        "\n"
        "Fetches files, and everything below directories, whole and now, many side by\n"
        "side: with a progress bar on a terminal and a line every few seconds elsewhere.\n"
        "Links are not followed and mounts not crossed. What failed is named, one line\n"
        "each, and the exit status is 1 if anything is missing. Ctrl-C ends it; what is\n"
        "there stays.\n";

enum { BATCH_MAX = 1024 };

struct batch { /* files whose inodes are held, so that the daemon knows them all along */
	const struct mount *mount; /* borrowed */
	GArray *fds;               /* int, O_PATH */
	GArray *inos;              /* uint64_t, in the order of the walk */
	GHashTable *paths;         /* uint64_t ino → path, borrowed; those not answered yet */
};

struct job {
	struct progress progress;
	GPtrArray *mounts;
	bool asked; /* a daemon, for anything */
};

static void complain(struct job *job, const char *path, const char *cause)
{
	progress_clear(&job->progress);
	job->progress.failures++;
	verb_complain("%s: %s", path, cause);
}

static void walk_failed(void *user, const char *path, int code)
{
	complain(user, path, g_strerror(code));
}

static bool walk_goes_on(void *user, const struct filelist *list)
{
	struct job *job = user;
	job->progress.files = list->entries->len;
	job->progress.bytes = list->bytes;
	progress_update(&job->progress);
	return !progress_interrupted(&job->progress);
}

/* As many as descriptors allow; asks for all that the user may have. */
static unsigned batch_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 64;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > BATCH_MAX + 64 ? BATCH_MAX : (unsigned)MAX(limit.rlim_cur / 2, 1);
}

static void batch_add(struct job *job, struct batch *batch, const struct filelist_entry *e)
{
	struct stat st;
	int fd = open(e->path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		complain(job, e->path, g_strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	if (st.st_dev != e->dev || !S_ISREG(st.st_mode)) {
		complain(job, e->path, "changed while it was looked at");
		close(fd);
		return;
	}
	guint64 *ino = g_new(guint64, 1);
	*ino = st.st_ino;
	g_array_append_val(batch->fds, fd);
	g_array_append_val(batch->inos, *ino);
	g_hash_table_insert(batch->paths, ino, e->path);
}

static JsonBuilder *batch_request(const struct batch *batch)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_builder_set_member_name(b, "verb");
	json_builder_add_string_value(b, "fill");
	json_builder_set_member_name(b, "ino");
	json_builder_begin_array(b);
	for (unsigned i = 0; i < batch->inos->len; i++) {
		char ino[24];
		g_snprintf(ino, sizeof(ino), "%" G_GUINT64_FORMAT,
		           g_array_index(batch->inos, guint64, i));
		json_builder_add_string_value(b, ino);
	}
	json_builder_end_array(b);
	json_builder_end_object(b);
	return b;
}

static uint64_t number(JsonObject *o, const char *name)
{
	gint64 value = json_object_get_int_member_with_default(o, name, 0);
	return value > 0 ? (uint64_t)value : 0;
}

static void answer_take(struct job *job, struct batch *batch, JsonObject *answer)
{
	uint64_t ino;
	if (!request_ino(json_object_get_member(answer, "ino"), &ino))
		return;
	guint64 key = ino;
	const char *path = g_hash_table_lookup(batch->paths, &key);
	const char *error = json_object_get_string_member_with_default(answer, "error", NULL);
	if (path && error)
		complain(job, path, error);
	else if (path)
		job->progress.files_done++;
	g_hash_table_remove(batch->paths, &key);
}

static bool batch_receive(struct job *job, struct batch *batch, struct client *c, GError **error)
{
	uint64_t present = job->progress.present, fetched = job->progress.fetched;
	JsonObject *answer = NULL;
	GError *cause = NULL;
	while (!progress_interrupted(&job->progress)) {
		if (!client_receive(c, CLIENT_TIMEOUT_MS, &answer, &cause)) {
			if (g_error_matches(cause, LOCAL_ERROR, EINTR)) {
				g_clear_error(&cause); /* stopped and continued, or a signal */
				continue;
			}
			g_propagate_error(error, cause);
			return false;
		}
		if (!answer)
			return true;
		if (json_object_has_member(answer, "ino")) {
			answer_take(job, batch, answer);
		} else {
			job->progress.present = present + number(answer, "bytes");
			job->progress.fetched = fetched + number(answer, "fetched");
		}
		json_object_unref(answer);
		progress_update(&job->progress);
	}
	return true;
}

static void batch_run(struct job *job, struct batch *batch)
{
	GHashTableIter iter;
	gpointer path;
	g_autoptr(GError) error = NULL;
	struct client *c = client_open(batch->mount, &error);
	if (c && client_send(c, batch_request(batch), &error))
		batch_receive(job, batch, c, &error);
	client_close(c);
	if (progress_interrupted(&job->progress))
		return;
	g_hash_table_iter_init(&iter, batch->paths);
	while (g_hash_table_iter_next(&iter, NULL, &path))
		complain(job, path, error ? error->message : "the daemon did not answer for it");
}

/* Files [from, …) of one mount, at most `limit`; how many were taken. */
static unsigned batch_of(struct job *job, const struct filelist *list, unsigned from,
                         unsigned limit)
{
	const struct filelist_entry *first =
	        &g_array_index(list->entries, struct filelist_entry, from);
	struct batch batch = {
	        .mount = mounts_of_device(job->mounts, major(first->dev), minor(first->dev)),
	        .fds = g_array_new(FALSE, FALSE, sizeof(int)),
	        .inos = g_array_new(FALSE, FALSE, sizeof(uint64_t)),
	        .paths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
	};
	unsigned n = 0;
	for (; n < limit && from + n < list->entries->len; n++) {
		const struct filelist_entry *e =
		        &g_array_index(list->entries, struct filelist_entry, from + n);
		if (e->dev != first->dev)
			break;
		if (batch.mount)
			batch_add(job, &batch, e);
		else
			complain(job, e->path, "not in a lacunafs mount");
	}
	if (g_hash_table_size(batch.paths)) {
		job->asked = true;
		batch_run(job, &batch);
	}
	for (unsigned i = 0; i < batch.fds->len; i++)
		close(g_array_index(batch.fds, int, i));
	g_array_unref(batch.fds);
	g_array_unref(batch.inos);
	g_hash_table_unref(batch.paths);
	return n;
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
	struct job job = {.mounts = mounts_read(&error)};
	if (!job.mounts) {
		verb_complain("%s", error->message);
		return EXIT_FAILED;
	}
	const struct filelist_ops ops = {.failed = walk_failed, .walking = walk_goes_on};
	struct filelist *list = filelist_new();
	unsigned limit = batch_limit();
	progress_open(&job.progress);
	job.progress.looking = true;
	filelist_walk(list, paths, &ops, &job);
	walk_goes_on(&job, list);
	job.progress.looking = false;
	for (unsigned i = 0; i < list->entries->len && !progress_interrupted(&job.progress);)
		i += batch_of(&job, list, i, limit);
	bool interrupted = progress_interrupted(&job.progress);
	unsigned failures = job.progress.failures;
	progress_close(&job.progress, job.asked || !failures, interrupted);
	filelist_free(list);
	g_ptr_array_unref(job.mounts);
	return failures || interrupted ? EXIT_FAILED : EXIT_OK;
}

const struct verb verb_fill = {"fill", run, help};
