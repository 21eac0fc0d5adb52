/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Adoption of the source's news by inodes: the callbacks of fill and lister.
 * Locking: takes the inode's lock and `names`; called with no lock held
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* `entry`: of the current listing. */
enum adoption {
	ADOPTED,     /* the inode has the entry's attributes */
	ADOPT_LATER, /* the old version is open: `outdated` until it is closed */
	ADOPT_NEVER, /* chunks of the old version are cached: the inode keeps it */
};
enum adoption inode_adopt(struct server *s, struct inode *i, const struct listing_entry *entry);
/* Makes the listing show the cached version of `i`, which differs from the listed one. */
void inode_list_held(struct server *s, struct inode *i);
/* fill_options and lister_options callbacks; `user` is the server. */
char *content_path_now(void *user, struct content *c);
void content_completed(void *user, struct content *c);
void content_changed(void *user, struct content *c);
void content_rebound(void *user, struct content *c);
void content_is_directory(void *user, struct content *c);
void content_released(void *user, struct content *c, void *owner);
bool kernel_overtaxed(void *user);
struct directory *directory_known(void *user, uint64_t ino);
char *directory_local_path(void *user, struct directory *d);
enum vanished directory_vanished(void *user, struct directory *d);
void directory_changed(void *user, struct directory *d, struct listing *before,
                       struct listing *after);
