/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The service manager's end of a keeper: sd_notify(3)'s protocol, of which this is all that is
 * needed. Not libsystemd: a datagram, and three variables.
 *
 * Stores:  descriptors by name, which outlive a keeper that is killed: the area, what the keeper
 *          keeps. The manager starts the next keeper with them, which resumes the mount
 *          (keeper_resume()). It drops those whose other end has gone by itself
 * Knows:   whether there is a store, from $FDSTORE, the number of descriptors that it has room for:
 *          of systemd 254 and later, or of the unit's Environment=
 * Trust:   the manager's variables name descriptors; only those of our names are taken, and the
 *          area is checked as any other
 * Source:  sd_notify(3), sd_listen_fds(3): FDSTORE=1, FDNAME=, FDSTOREREMOVE=1, LISTEN_FDS
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "fuse/keeper/keeping.h"

#define FDSTORE_AREA KEPT_MAX /* beside enum kept */

struct fdstore {
	int socket; /* -1: there is no manager: nothing is done */
	bool keeps; /* it has a store for us, by $FDSTORE: else it is told how the mount is, only */
};

/* What it stored for a keeper before this one; -1: none of that name. */
struct fdstore_kept {
	int area;
	int fds[KEPT_MAX];
};

void fdstore_open(struct fdstore *s);
/* `what`: enum kept, or FDSTORE_AREA. -1: none. `before`: it is stored, and goes. */
void fdstore_put(const struct fdstore *s, uint32_t what, int fd, bool before);
/* Says "READY=1", … */
void fdstore_say(const struct fdstore *s, const char *text);
/* Takes the variables out of the environment. All other descriptors of the manager's are closed. */
void fdstore_take(struct fdstore_kept *out);
/* Closes and forgets all of it, here and at the manager. */
void fdstore_drop(struct fdstore_kept *kept);
