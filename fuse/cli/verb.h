/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The verbs of the command line. argv: the arguments after the verb; the result is the exit
 * status. Errors are one line on stderr, "lacunafs: …". */
#pragma once
#include <glib.h>
#include "fuse/base/exit_status.h"
#include <stdbool.h>

struct mount;

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

extern const struct verb verb_mount, verb_umount, verb_status, verb_fill, verb_seal, verb_sync,
        verb_evict, verb_refresh, verb_trace, verb_hsm, verb_handlers, verb_verify, verb_pin,
        verb_unpin, verb_metrics, verb_publish, verb_upgrade;

/* One line to stderr, without control characters and credentials. */
void verb_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* Parses options; `rest`: the other arguments (NULL-terminated, to be freed with g_strfreev(); may
 * be NULL). false: the error has been reported. */
gboolean verb_options(const struct verb *v, int argc, char **argv, const GOptionEntry *entries,
                      char ***rest);
/* Runs `work(mount, user)` for a verb that takes one MOUNT, named by `paths`, and reports errors.
 * The exit status. */
int verb_of_mount(const struct verb *v, char **paths,
                  bool (*work)(const struct mount *, const void *user, GError **),
                  const void *user);
