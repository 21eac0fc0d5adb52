/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The kernel's readdir cache. The kernel fills it from READDIR replies, and compares it with the
 * directory's mtime only at the beginning of a walk, and only if it is complete. An incomplete
 * cache thus survives a change of the names: the walk that made it completes it, and a walk that
 * began after the change continues in it, and sees a removed name.
 * Hence each change drops the cache, before its reply: the kernel holds the
 * directory's lock from the request to the reply, and no walk adds a reply meanwhile.
 * Refused: a reply to OPENDIR that forbids the cache: two more requests per walk, and a READDIR
 * Locking: takes the inode's lock; walked_drop() is called without it
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* Call before returning names: the kernel may cache them. */
void walked_note(struct inode *dir);
/* Call when names have changed, before the reply. */
void walked_drop(struct server *s, struct inode *dir);
