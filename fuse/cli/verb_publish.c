/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdio.h>
#include <string.h>
#include "fetch/base/pool.h"
#include "fetch/index/frame.h"
#include "fetch/publish/audit.h"
#include "fetch/publish/publish.h"
#include "fetch/publish/sweep.h"
#include "fuse/base/human.h"
#include "fuse/cli/progress.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs publish [OPTION]... DIR\n"
        "       lacunafs publish --check | --gc [--grace TIME] [--output DIR2] DIR\n"
        "\n"
        "Writes an index of the tree DIR into DIR/.lacuna: all names and attributes, and\n"
        "the SHA-256 of each block of 64 KiB. A mount of a web server's copy of DIR finds\n"
        "it: no directory is requested, owners, modes, links and xattrs are exact, and\n"
        "every block is verified. Files of DIR stay where they are. A mount sees the old\n"
        "version or the new one, whatever ends the command.\n"
        "\n"
        "  --output DIR2  write .lacuna into DIR2; copy it beside the tree's files\n"
        "  --from OLD     do not read again what has not changed since OLD: a published\n"
        "                 tree, or its index; by path, size and mtime\n"
        "  --checksum     read all of it all the same, and compare\n"
        "  --sign KEY     sign the version with this Ed25519 private key (PEM)\n"
        "  --pack         write packs, too: compressed copies of files of up to 128 KiB,\n"
        "                 which a mount fetches by hundreds (default, if built with zstd)\n"
        "  --no-pack      write the index only\n"
        "  --check        read a published tree, and compare all of it with its index\n"
        "  --gc           remove older versions, replaced at least --grace TIME ago (7d;\n"
        "                 s, m, h or d): mounts may still be in the middle of them\n";

#define GRACE_S (7 * 86400)

struct words { /* of the command line */
	char *directory, *output, *key, *from, *grace;
	gboolean checksum, check, gc, packs, plain;
	int64_t grace_s;
};

struct job {
	struct progress progress;
};

static bool goes_on(void *user, const struct publish_progress *p)
{
	struct job *job = user;
	job->progress.looking = p->step == PUBLISH_LOOKING;
	job->progress.files = p->files;
	job->progress.bytes = p->bytes;
	job->progress.fetched = p->hashed;
	job->progress.present = p->hashed + p->kept;
	job->progress.files_done = p->hashed_files + p->kept_files;
	progress_update(&job->progress);
	return !progress_interrupted(&job->progress);
}

static void print_result(const struct publish_result *r, int64_t took_ns)
{
	g_autofree char *root = digest_text(&r->head.root);
	g_autofree char *files = human_count(r->files);
	g_autofree char *directories = human_count(r->directories);
	g_autofree char *bytes = human_size(r->bytes), *size = human_size(r->head.size);
	g_autofree char *took = human_duration((double)took_ns / 1e9);
	printf("%s files in %s directories, %s, in %s; index: %s\n", files, directories, bytes,
	       took, size);
	if (r->kept_files > 0) {
		g_autofree char *kept = human_count(r->kept_files);
		printf("%s files unchanged, and not read\n", kept);
	}
	printf("%s sha256:%s\n", r->unchanged ? "unchanged:" : "published:", root);
	if (r->odd_files > 0)
		verb_complain("publish: %" G_GUINT64_FORMAT " files changed, but not their time",
		              r->odd_files);
	if (r->was_signed && !r->head.is_signed)
		verb_complain(
		        "publish: the version before was signed, this one is not; mounts with -o "
		        "verify_key refuse it");
}

static int run_publish(const struct words *w)
{
	g_autoptr(GError) error = NULL;
	struct job job;
	struct publish_result result;
	int64_t started = clock_now();
	const struct publish_options options = {
	        .directory = w->directory,
	        .output = w->output,
	        .key = w->key,
	        .from = w->from,
	        .checksum = w->checksum,
	        .packs = w->packs || (!w->plain && frame_usable()),
	        .goes_on = goes_on,
	        .user = &job,
	};
	progress_open(&job.progress);
	bool ok = publish(&options, &result, &error);
	progress_close(&job.progress, false, false);
	if (ok)
		print_result(&result, clock_now() - started);
	else
		verb_complain("publish: %s", error->message);
	return ok ? EXIT_OK : EXIT_FAILED;
}

/* ---- --check ---- */

static void found(void *user, const char *path, const char *what)
{
	struct job *job = user;
	g_autofree char *name = human_name(path);
	progress_clear(&job->progress);
	printf("%s: %s\n", name, what);
}

static bool audit_goes_on(void *user, const struct audit_totals *t)
{
	struct job *job = user;
	job->progress.files = t->files;
	job->progress.bytes = t->bytes;
	job->progress.present = job->progress.fetched = t->bytes_done;
	job->progress.files_done = t->files_done;
	progress_update(&job->progress);
	return !progress_interrupted(&job->progress);
}

static int run_check(const struct words *w)
{
	g_autoptr(GError) error = NULL;
	struct job job;
	struct head head;
	struct audit_totals t;
	const struct audit_options options = {.directory = w->directory,
	                                      .output = w->output,
	                                      .found = found,
	                                      .goes_on = audit_goes_on,
	                                      .user = &job};
	progress_open(&job.progress);
	bool ok = audit(&options, &head, &t, &error);
	progress_close(&job.progress, false, false);
	if (!ok) {
		verb_complain("publish: %s", error->message);
		return EXIT_UNCHECKED;
	}
	g_autofree char *root = digest_text(&head.root), *wrong = human_count(t.wrong);
	g_autofree char *files = human_count(t.files_done), *bytes = human_size(t.bytes_done);
	printf("sha256:%s: %s files, %s: %s wrong\n", root, files, bytes, t.wrong ? wrong : "none");
	return t.wrong > 0 ? EXIT_FAILED : EXIT_OK;
}

/* ---- --gc ---- */

static int run_gc(const struct words *w)
{
	g_autoptr(GError) error = NULL;
	struct sweep_result r;
	if (!sweep(w->output != NULL ? w->output : w->directory, w->grace_s, &r, &error)) {
		verb_complain("publish: %s", error->message);
		return EXIT_FAILED;
	}
	g_autofree char *bytes = human_size(r.bytes);
	printf("%u files removed, %s; %u are younger than the grace time\n", r.removed, bytes,
	       r.kept);
	return EXIT_OK;
}

/* ---- the command line ---- */

#define GRACE_MAX_S (INT64_C(36500) * 86400) /* a time in ns has 292 years */

static bool grace_parse(struct words *w)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end = w->grace;
	guint64 n = g_ascii_isdigit(*end) ? g_ascii_strtoull(w->grace, &end, 10) : 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(units) && end != w->grace && n <= 1000000; i++)
		if (*end == units[i].unit && (*end == '\0' || end[1] == '\0') &&
		    (int64_t)n * units[i].seconds <= GRACE_MAX_S) {
			w->grace_s = (int64_t)n * units[i].seconds;
			return true;
		}
	verb_complain("publish: --grace=%s: expects a time, as 36h or 7d", w->grace);
	return false;
}

static bool words_check(struct words *w)
{
	bool publishes = !w->check && !w->gc;
	const char *const texts[] = {w->output, w->key, w->from, w->grace};
	const char *why = NULL;
	for (unsigned n = 0; n < G_N_ELEMENTS(texts); n++)
		if (texts[n] != NULL && texts[n][0] == '\0')
			why = "an option must not be empty";
	if (w->packs && w->plain)
		why = "--pack and --no-pack exclude each other";
	else if (w->check && w->gc)
		why = "--check excludes --gc";
	else if (!publishes && (w->key || w->from || w->checksum || w->packs || w->plain))
		why = "--check and --gc publish nothing; they take --output and --grace only";
	else if (w->grace && !w->gc)
		why = "--grace needs --gc";
	else if (w->checksum && !w->from)
		why = "--checksum needs --from";
	if (why != NULL)
		verb_complain("publish: %s", why);
	w->grace_s = GRACE_S;
	return why == NULL && (w->grace == NULL || grace_parse(w));
}

static void words_clear(struct words *w)
{
	g_free(w->output);
	g_free(w->key);
	g_free(w->from);
	g_free(w->grace);
}

static int words_run(struct words *w, char **rest)
{
	if (!rest || !rest[0] || rest[1] || !rest[0][0]) {
		verb_complain("publish: expects one DIR");
		return EXIT_USAGE;
	}
	w->directory = rest[0];
	if (!words_check(w))
		return EXIT_USAGE;
	return w->check ? run_check(w) : w->gc ? run_gc(w) : run_publish(w);
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) rest = NULL;
	struct words w = {0};
	const GOptionEntry entries[] = {
	        {"output", 0, 0, G_OPTION_ARG_FILENAME, &w.output, NULL, NULL},
	        {"from", 0, 0, G_OPTION_ARG_FILENAME, &w.from, NULL, NULL},
	        {"checksum", 0, 0, G_OPTION_ARG_NONE, &w.checksum, NULL, NULL},
	        {"sign", 0, 0, G_OPTION_ARG_FILENAME, &w.key, NULL, NULL},
	        {"pack", 0, 0, G_OPTION_ARG_NONE, &w.packs, NULL, NULL},
	        {"no-pack", 0, 0, G_OPTION_ARG_NONE, &w.plain, NULL, NULL},
	        {"check", 0, 0, G_OPTION_ARG_NONE, &w.check, NULL, NULL},
	        {"gc", 0, 0, G_OPTION_ARG_NONE, &w.gc, NULL, NULL},
	        {"grace", 0, 0, G_OPTION_ARG_STRING, &w.grace, NULL, NULL},
	        {NULL},
	};
	int status = verb_options(&verb_publish, argc, argv, entries, &rest) ? words_run(&w, rest)
	                                                                     : EXIT_USAGE;
	words_clear(&w);
	return status;
}

const struct verb verb_publish = {"publish", run, help};
