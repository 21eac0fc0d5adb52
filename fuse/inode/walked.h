/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The kernel's copy of the names of a directory. The kernel makes it from the answers of the walks,
 * and compares it with the directory's age when a walk begins, and only if the copy is whole. A
 * copy that is not whole outlives a change of the names, then: the walk that it was made by ends
 * it, and a walk that began after the change goes on in it, and is given the name that went.
 * Hence each change drops what there may be of a copy, before the answer: the kernel holds the
 * directory's lock from the request to there, and no walk copies an answer meanwhile.
 * Refused: an answer to OPENDIR that forbids the copy: two requests more a walk, and a READDIR
 * Locking: takes the inode's lock; walked_drop() wants none held
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* Before names of it are told: the kernel may copy them. */
void walked_note(struct inode *dir);
/* Its names have changed, and that was not answered yet. */
void walked_drop(struct server *s, struct inode *dir);
