/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by inode_table.c, twin.c and takeover.c. */
#pragma once
#include <glib.h>
#include "fetch/base/lock.h"
#include "fuse/inode/inode_table.h"
#include "fuse/base/area.h"
#include "fuse/base/slots.h"

struct inode_table {
	struct mutex lock;
	GHashTable *by_ino;  /* set of struct inode (borrowed), by ino */
	struct inode *slots; /* by index, in the area; area.inodes were ever used */
	struct slots *free;
	GHashTable *outlived; /* set of struct inode (borrowed): twin_outlived() */
	struct area *area;    /* borrowed */
	struct numbers *numbers;
	uint64_t count;
};

/* With the table's lock; no reference. */
struct inode *inode_find_locked(struct inode_table *t, uint64_t ino) REQUIRES(t->lock);
