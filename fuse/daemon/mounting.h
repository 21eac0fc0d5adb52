/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The daemon's part of mounting: libfuse's session and its options. The helper mounts (helper.h).
 */
#pragma once
#include "fuse/inode/server.h"

/* The last of the options `on` and `off` applies; `otherwise`: neither is given. */
bool mounting_asks(const struct settings *settings, const char *on, const char *off,
                   bool otherwise);
/* s->session, from s->settings and s->read_only. */
bool mounting_prepare(struct server *s, GError **error);
/* What libfuse has complained of since the last call; caller frees. NULL: nothing. */
char *mounting_complaint(void);
/* Sets s->device, and s->second_fd. */
bool mounting_do(struct server *s, GError **error);
/* Instead of mounting_do(): the mount of the worker before this one. */
bool mounting_resume(struct server *s, GError **error);
/* Closes the session's device; its number stays taken, since a late reply must not reach another
 * file. */
void mounting_drop(struct server *s);
/* The same, so that waiting callers get ENOTCONN, and unmounts; but not another mount over it or in
 * its place. */
void mounting_end(struct server *s);
