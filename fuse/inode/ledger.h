/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The state that a new worker would need to continue after a crash: the node ids that the kernel
 * holds, and their lookup counts. Plain memory in a memfd, which can be passed to the next
 * worker; written before the reply to the kernel. Without a
 * descriptor where the size of files is limited.
 * Shape:   entry i belongs to the inode of index i; names come from the listing of the
 *          parent, by st_ino
 * Locking: the inode table's
 */
#pragma once
#include <stdint.h>

struct ledger_entry {
	uint64_t nlookup; /* the kernel's lookup count; 0: the slot is free */
	uint64_t ino;
	uint32_t parent;     /* index */
	uint32_t generation; /* of this slot: grows with each use */
};

#define LEDGER_ENTRIES (UINT32_C(1) << 26) /* address space only: touched pages count */

struct ledger {
	int fd; /* -1: none */
	struct ledger_entry *entries;
};

int ledger_open(struct ledger *l); /* 0 or -errno */
void ledger_close(struct ledger *l);
