/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* From a path to a connection: finds the mount and its control socket, and attaches.
 * Trust:  a socket's directory must belong to the mount's owner, and be closed to others; its peer
 *         must be the owner or root: every user can create files in /tmp
 * Source: lacuna/control.h; proc(5) for mountinfo
 */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "lib/message.h"

/* The owner of the lacunafs mount with that st_dev: 0 and *uid; -ENOTTY: no such mount. */
int mountinfo_owner(FILE *mountinfo, unsigned major, unsigned minor, uint32_t *uid);
/* A connected socket, closed on exec; else -errno. */
int attach_connect(unsigned major, unsigned minor, uint32_t uid);
/* The attach line with its newline: its length. -EINVAL: invalid options. NULL: defaults. */
int attach_line(const struct lacuna_options *options, char line[LINE_MAX_BYTES]);
/* Sends the line and waits for the answer; messages after it stay in `in`. */
int attach_talk(int socket, const char *line, int length, struct inbox *in, int *inherited);
