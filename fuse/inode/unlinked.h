/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* /unlinked/… of objects that nobody has any more: dropped without any lock, which may take the
 * disk as long as the file was large. */
#pragma once
#include <glib.h>
#include <stdint.h>

struct server;

struct unlinked {
	uint64_t number;
	uint64_t ino; /* whose marks go with it; 0: it has another name */
};
void unlinked_remove(struct server *s,
                     GArray *unlinked); /* of struct unlinked, freed; NULL: none */
