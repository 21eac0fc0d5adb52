/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pins (fetch/store/disk/pins.h) of an inode and of the directories above it. */
#pragma once
#include <stdbool.h>

struct inode;
struct server;

/* Is the inode pinned, or a directory above any of its known names? */
bool inode_is_pinned(struct server *s, const struct inode *i);
