/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdio.h>
#include "fetch/base/error.h"
#include "fuse/base/json.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"
#include "fuse/cli/verb.h"

static const char help[] =
        "Usage: lacunafs upgrade MOUNT\n"
        "\n"
        "This program takes over a mount from the one that runs it. No process that uses\n"
        "the mount notices: open files, mappings, locks, running programs and handlers\n"
        "go on. If this program cannot take over, or dies soon after, the other one goes\n"
        "on.\n"
        "\n"
        "Only the user who mounted it can do so.\n";

/* Longer than a keeper needs to give up. */
enum { PATIENCE_MS = 90000 };

static bool upgrade(const struct mount *m, const void *unused, GError **error)
{
	JsonBuilder *b = json_builder_new();
	JsonObject *answer = NULL;
	json_builder_begin_object(b);
	json_add_text(b, "verb", "upgrade");
	json_builder_end_object(b);
	struct client *c = client_open(m, error);
	if (!c) {
		g_object_unref(b);
		return false;
	}
	bool ok = client_send(c, b, error) && client_receive(c, PATIENCE_MS, &answer, error);
	client_close(c);
	if (ok && !answer)
		g_set_error_literal(error, LOCAL_ERROR, EPROTO, "the daemon hung up");
	if (!answer)
		return false;
	json_object_unref(answer);
	printf("%s: upgraded to version " LACUNAFS_VERSION "\n", m->point);
	return true;
}

static int run(int argc, char **argv)
{
	g_auto(GStrv) paths = NULL;
	const GOptionEntry entries[] = {{NULL}};
	if (!verb_options(&verb_upgrade, argc, argv, entries, &paths))
		return EXIT_USAGE;
	return verb_of_mount(&verb_upgrade, paths, upgrade, NULL);
}

const struct verb verb_upgrade = {"upgrade", run, help};
