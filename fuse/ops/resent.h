/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A worker takes over the session: what the worker before had read and not answered is sent again
 * by the kernel, before anything else, with a mark in its number.
 * Locking: resent_look() on the thread at the device
 */
#pragma once
#include "fuse/inode/server.h"

struct fuse_in_header;

/* Remembers what the kernel offered, for the next worker; and whether there can be one. */
void resent_note_init(struct server *s, const struct fuse_buf *message);
/* libfuse agrees with the kernel as the first worker did. */
void resent_init(struct server *s);
/* Then, once the agreement is known: asks for what was not answered. false: the mount has ended. */
bool resent_begin(struct server *s);
/* A request was read (`in` NULL: there is none), while *catching_up. false: it is answered. */
bool resent_look(struct server *s, const struct fuse_in_header *in, bool *catching_up);
