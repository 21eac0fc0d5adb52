/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The way into the kernel: libfuse's session and its options. libfuse prints its causes instead
 * of returning them, and fusermount3 can do nothing else: both become part of the error. */
#pragma once
#include "fuse/inode/server.h"

/* s->session, from the settings. */
bool mounting_prepare(struct server *s, GError **error);
/* Sets s->device, and s->second_fd. */
bool mounting_do(struct server *s, GError **error);
/* Closes the device, so that whoever waits gets ENOTCONN, and unmounts; but not what somebody has
 * mounted over it or in its place. */
void mounting_end(struct server *s);
