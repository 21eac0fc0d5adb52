/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What becomes of an inode when the source tells something new: the callbacks of fill and lister.
 * Locking: takes the inode's lock and `names`; called with no lock held
 */
#pragma once
#include "fuse/inode/inode.h"

struct server;

/* `entry` is what the listing says now. */
enum adoption {
	ADOPTED,     /* the inode says the same */
	ADOPT_LATER, /* the old version is open: `outdated` until it is closed */
	ADOPT_NEVER, /* bytes of the old version are here: the inode stays with them */
};
enum adoption inode_adopt(struct server *s, struct inode *i, const struct listing_entry *entry);
/* The listing says what is held of it, of another version than it has. */
void inode_list_held(struct server *s, struct inode *i);
/* fill_options and lister_options callbacks; `user` is the server. */
char *content_path_now(void *user, struct content *c);
void content_completed(void *user, struct content *c);
void content_changed(void *user, struct content *c);
void content_is_directory(void *user, struct content *c);
void content_released(void *user, struct content *c, void *owner);
char *directory_local_path(void *user, struct directory *d);
enum vanished directory_vanished(void *user, struct directory *d);
void directory_changed(void *user, struct directory *d, struct listing *before,
                       struct listing *after);
