/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/pin.h"
#include <errno.h>
#include "fetch/store/disk/pins.h"
#include "fuse/inode/pinned.h"
#include "fuse/inode/server.h"

void pin_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){.error = -store_pin(s->store, i->ino)};
}

void unpin_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){.error = -store_unpin(s->store, i->ino)};
	if (!out->error && inode_is_pinned(s, i))
		*out = (struct leaving){.error = EBUSY, .cause = "a directory above it is pinned"};
}
