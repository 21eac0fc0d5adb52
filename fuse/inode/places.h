/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Places of names in the readdir of their directories (fetch/list/overlay.h), in the area: a
 * readdir that began under the worker before goes on, and returns each name once.
 * Shape:   a table by the key of a name, 4 MiB, in sets of which a later name takes the place of an
 *          older one once they are full. Beyond about 100,000 names that became local in one mount,
 *          a readdir across a takeover may repeat some of them
 * Locking: the lister's for place_note(); a place that changes meanwhile is not known to
 *          place_of(). Callbacks of lister_options, whose user is the server
 */
#pragma once
#include <stdint.h>

void place_note(void *user, uint64_t key, uint32_t number);
uint32_t place_of(void *user, uint64_t key); /* 0: not known */
