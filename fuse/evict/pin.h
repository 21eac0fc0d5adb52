/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* pin and unpin of one file or directory (fuse/inode/pinned.h).
 * Errors:  as evict.h
 */
#pragma once
#include "fuse/evict/leaving.h"

void pin_file(struct server *s, struct inode *i, struct leaving *out);
void unpin_file(struct server *s, struct inode *i, struct leaving *out);

struct pin_list {
	struct server *server;
	/* `path`: in the mount, "" for its root; where the mount does not know the inode yet
	 * (`known` false), its path when it was pinned. false: ends the list. */
	bool (*line)(void *user, uint64_t ino, const char *path, bool known);
	void *user;
};
void pin_list(const struct pin_list *l);
