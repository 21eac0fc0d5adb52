/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/leftovers.h"
#include <sys/stat.h>
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

struct seen {
	struct server *server;
	struct directory *directory;
	struct listing *listing;
	GHashTable *open; /* set of paths, owned; NULL: not needed yet */
};

static bool visible(void *user, const char *name, uint32_t type)
{
	const struct seen *seen = user;
	uint32_t index;
	switch (directory_child(seen->directory, seen->listing, name, &index)) {
	case CHILD_LOCAL:
		return true;
	case CHILD_REMOTE:
		return (listing_at(seen->listing, index)->mode & S_IFMT) == type;
	case CHILD_NONE:
		break;
	}
	return false;
}

/* An invisible file is open since before, or about to be opened by a caller that has just looked
 * its name up. */
static bool in_use(void *user, const char *path)
{
	struct seen *seen = user;
	if (!seen->open)
		seen->open = handle_table_paths(seen->server->handles, seen->server);
	return g_hash_table_contains(seen->open, path);
}

void leftovers_drop(struct server *s, struct inode *dir, struct leaving *out)
{
	struct seen seen = {.server = s, .directory = inode_open_directory(s, dir)};
	const struct tree_sweeping sweeping = {visible, in_use, &seen};
	seen.listing = directory_listing(seen.directory, NULL);
	if (!seen.listing)
		return;
	g_autofree char *path = way_path(s, dir);
	out->error = -tree_sweep(s->store, path, &sweeping, &out->bytes);
	listing_unref(seen.listing);
	g_clear_pointer(&seen.open, g_hash_table_unref);
}
