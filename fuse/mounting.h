/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The way into the kernel: libfuse's session and its options. libfuse prints its causes instead
 * of returning them, and fusermount3 can do nothing else: both become part of the error. */
#pragma once
#include "fuse/server.h"

/* s->session, from the settings. */
bool mounting_prepare(struct server *s, GError **error);
bool mounting_do(struct server *s, GError **error);
