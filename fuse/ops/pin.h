/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* pin and unpin of one file or directory (fuse/inode/pinned.h).
 * Errors:  as evict.h
 */
#pragma once
#include "fuse/ops/leaving.h"

void pin_file(struct server *s, struct inode *i, struct leaving *out);
void unpin_file(struct server *s, struct inode *i, struct leaving *out);
