/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Running a mount in this process, or in one that outlives it. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include "fuse/base/settings.h"

struct handover;

/* Until unmounted. */
bool daemon_foreground(const struct settings *s, GError **error);
/* Returns in the parent only: true when the mount answers, else with the child's error.
 * SIGINT and SIGTERM meanwhile end the child. */
bool daemon_background(const struct settings *s, GError **error);
/* For a keeper of another program, or in its place (fuse/keeper/upgrade.h). The exit status;
 * `error` is set if the mount's state cannot be taken over: then nothing has happened to it. */
int daemon_resume(const struct settings *s, const struct handover *h, GError **error);
/* A mount that the service manager has descriptors of, since its keeper was killed
 * (fuse/keeper/fdstore.h), goes on until it is unmounted: its exit status. false: there is none, or
 * none any more. Before anything looks at the mount point, which nobody serves now. */
bool daemon_revive(const struct settings *s, int *status);
