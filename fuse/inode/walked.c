/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/walked.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"

void walked_note(struct inode *dir)
{
	mutex_lock(&dir->lock);
	dir->walked = true;
	mutex_unlock(&dir->lock);
}

/* Not for each of many changes in a row: with the pages the kernel forgets the attributes, and
 * requests them again. */
void walked_drop(struct server *s, struct inode *dir)
{
	mutex_lock(&dir->lock);
	bool walked = dir->walked;
	dir->walked = false;
	mutex_unlock(&dir->lock);
	if (walked)
		notifier_inode_now(s->notifier, inode_id(dir));
}
