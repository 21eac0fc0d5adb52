/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Chunks of a copied store that were dirty in the epoch in which it was copied. A copy has the data
 * that could be read, durable or not: a chunk that differs from the fetched data is local from
 * now on. A hole means that the data was never written: such a chunk is absent. */
#pragma once
#include "fetch/store/object/object_private.h"

struct unsynced {
	uint32_t epoch; /* 0: none was alive */
	uint64_t kept, lost;
};

/* Handles the chunks of the file `fd` with this bound record. Their bytes are made durable first.
 */
int unsynced_keep(struct store *s, int fd, const struct record *r, struct unsynced *u);
