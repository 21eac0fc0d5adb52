/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Shared by journal.c, recovery.c and takeover.c. */
#pragma once
#include "fuse/inode/journal.h"

/* Every entry that is whole. */
void journal_each(struct area *a, void (*each)(void *user, struct journal_entry *e), void *user);
