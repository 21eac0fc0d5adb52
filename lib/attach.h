/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* From a path to a connection: which mount it lies in, where that one's socket is, and what is
 * said first.
 * Trust:  a socket's directory must be the mount owner's, and closed to others; its peer must be
 *         the owner or root: anybody may make files in /tmp
 * Source: lacuna/control.h; proc(5) for mountinfo
 */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "lib/message.h"

/* Who mounted the lacunafs with that st_dev: 0 and *uid; -ENOTTY: there is none. */
int mountinfo_owner(FILE *mountinfo, unsigned major, unsigned minor, uint32_t *uid);
/* A connected socket, closed on exec; else -errno. */
int attach_connect(unsigned major, unsigned minor, uint32_t uid);
/* The line, its newline too: its length. -EINVAL: the options cannot be. NULL: defaults. */
int attach_line(const struct lacuna_options *options, char line[LINE_MAX_BYTES]);
/* Sends it and waits for the answer; what came behind stays in `in`. */
int attach_talk(int socket, const char *line, int length, struct inbox *in, int *inherited);
