/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks of a copied store that are dirty in the epoch in which it was copied: whether their bytes
 * were on the disk does not matter to a copy, which has what could be read. Those that are not what
 * was fetched are local from here on. A hole says that the bytes never came: such a chunk is
 * absent. */
#pragma once
#include "fetch/store/object/object_private.h"

struct unsynced {
	uint32_t epoch; /* 0: none was alive */
	uint64_t kept, lost;
};

/* Of the file `fd` with this record, which is bound. Their bytes are on the disk first. */
int unsynced_keep(struct store *s, int fd, const struct record *r, struct unsynced *u);
