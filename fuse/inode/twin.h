/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Two inodes of one local file. The source puts another file in the place of one that is open: the
 * name is looked up as another inode, and the local file that is there is both inodes'. As soon as
 * that counts it is one's, as the name is, and that one is the `twin` of the other, which is found
 * by whatever names the twin has by then. So what is written to it late, as by a mapping, reaches
 * the file that has its name, and does not make a name count once more that went meanwhile.
 *
 *     named ──the source has another file there──▶ outlived ──the name comes to count, or goes──▶
 *     it has a twin ──forgotten──▶ gone, and with the last one the twin, if that was unlinked
 *
 * Locking: the table's lock, then `names`; each function takes both
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* The source has another file, or none, where the file of this number was. Who has it open still
 * knows it by that name. */
void twin_outlived(struct server *s, uint64_t ino);
/* Is `name` in `dir` still that of an outlived inode, beside `i`? */
bool twin_is_wanted(struct server *s, const struct inode *i, const struct inode *dir,
                    const char *name);
/* The name, and the local file there, is `i`'s: all others that have the name get it as their twin.
 * `listed`: the number that the listing has of that name; 0: none. */
void twin_take(struct server *s, struct inode *i, const struct inode *dir, const char *name,
               uint64_t listed);
/* The local file of `i` counts as that of number `owner`. */
void twin_follow(struct server *s, struct inode *i, uint64_t owner);
/* The name is that of a new file: who had it has none any more. */
void twin_unname(struct server *s, const struct inode *dir, const char *name);
/* Bytes or the size of `i` were changed here: of its other inodes the kernel may have pages. */
void twin_changed(struct server *s, struct inode *i);
