/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Mounting: libfuse's session and its options. libfuse prints its errors instead
 * of returning them, and fusermount3 can only print: both outputs become part of the error. */
#pragma once
#include "fuse/inode/server.h"

/* s->session, from the settings. */
bool mounting_prepare(struct server *s, GError **error);
/* Sets s->device, and s->second_fd. */
bool mounting_do(struct server *s, GError **error);
/* Instead of mounting_do(): the mount of the worker before this one. */
bool mounting_resume(struct server *s, GError **error);
/* Closes the device, here and in the keeper, so that waiting callers get ENOTCONN, and unmounts;
 * but not another mount over it or in its place. */
void mounting_end(struct server *s);
