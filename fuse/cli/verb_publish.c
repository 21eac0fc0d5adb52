/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdio.h>
#include "fetch/base/pool.h"
#include "fetch/index/frame.h"
#include "fetch/publish/publish.h"
#include "fuse/base/human.h"
#include "fuse/cli/progress.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs publish [OPTION]... DIR\n"
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
        "  --no-pack      write the index only\n";

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

static int run(int argc, char **argv)
{
	g_auto(GStrv) rest = NULL;
	g_autofree char *output = NULL, *key = NULL, *from = NULL;
	gboolean checksum = FALSE;
	g_autoptr(GError) error = NULL;
	gboolean plain = FALSE, packs = FALSE;
	const GOptionEntry entries[] = {
	        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output, NULL, NULL},
	        {"from", 0, 0, G_OPTION_ARG_FILENAME, &from, NULL, NULL},
	        {"checksum", 0, 0, G_OPTION_ARG_NONE, &checksum, NULL, NULL},
	        {"sign", 0, 0, G_OPTION_ARG_FILENAME, &key, NULL, NULL},
	        {"pack", 0, 0, G_OPTION_ARG_NONE, &packs, NULL, NULL},
	        {"no-pack", 0, 0, G_OPTION_ARG_NONE, &plain, NULL, NULL},
	        {NULL},
	};
	if (!verb_options(&verb_publish, argc, argv, entries, &rest))
		return EXIT_USAGE;
	if (!rest || !rest[0] || rest[1] || !rest[0][0] || (output && !output[0]) ||
	    (key && !key[0]) || (from && !from[0])) {
		verb_complain("publish: expects one DIR");
		return EXIT_USAGE;
	}
	if (packs && plain) {
		verb_complain("publish: --pack and --no-pack exclude each other");
		return EXIT_USAGE;
	}
	struct job job;
	struct publish_result result;
	int64_t started = clock_now();
	const struct publish_options options = {
	        .directory = rest[0],
	        .output = output,
	        .key = key,
	        .from = from,
	        .checksum = checksum,
	        .packs = packs || (!plain && frame_usable()),
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

const struct verb verb_publish = {"publish", run, help};
