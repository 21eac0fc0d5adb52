/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Removes /unlinked/… of objects that are no longer in use: without a lock, since the disk may take
 * long for a large file. */
#pragma once
#include <glib.h>
#include <stdint.h>

struct server;

struct unlinked {
	uint64_t number;
	uint64_t ino; /* marks of this inode are removed, too; 0: it has another name */
};
void unlinked_remove(struct server *s,
                     GArray *unlinked); /* of struct unlinked, freed; NULL: none */
