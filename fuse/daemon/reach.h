/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The files within reach of a confined daemon: those that it opens after its start (confine.h). */
#pragma once
#include "fuse/base/settings.h"
#include "fuse/daemon/landlock.h"

/* Is there a source that is not a directory? */
bool reach_network(const struct settings *s);
/* Adds the rules. -errno: there is no store. */
int reach_allow(struct landlock *l, const struct settings *s);
