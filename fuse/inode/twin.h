/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Two inodes of one local file. The source replaces a file that is open: a look-up of its name
 * gives another inode, and both inodes share the local file of that name. As soon as this file
 * takes precedence over the listing, it belongs to one of them, and so does the name. That inode is
 * the `twin` of the other, which finds the file by the current names of its twin. A late write to
 * the other, as by a mapping, thus reaches the file of that name, and revives no name that was
 * removed meanwhile.
 *
 *     named ──the source replaces the file──▶ outlived ──the name becomes local, or is removed──▶
 *     it has a twin ──forgotten──▶ gone, and with the last one the twin, if that was unlinked
 *
 * Locking: each function takes the table's lock and `names`
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* The source has replaced or removed the file of this number. Open handles still know it by its
 * name. */
void twin_outlived(struct server *s, uint64_t ino);
/* Does an outlived inode other than `i` still have `name` in `dir`? */
bool twin_is_wanted(struct server *s, const struct inode *i, const struct inode *dir,
                    const char *name);
/* The name, and its local file, belong to `i`, which becomes the twin of all other inodes of that
 * name. `listed`: the name's number in the listing; 0: none. */
void twin_take(struct server *s, struct inode *i, const struct inode *dir, const char *name,
               uint64_t listed);
/* The local file of `i` belongs to the inode of number `owner`, which becomes the twin of `i`. */
void twin_follow(struct server *s, struct inode *i, uint64_t owner);
/* A new file has the name: outlived inodes lose it. */
void twin_unname(struct server *s, const struct inode *dir, const char *name);
/* Data or size of `i` was changed locally: drops the kernel's pages of its other inodes. */
void twin_changed(struct server *s, struct inode *i);
