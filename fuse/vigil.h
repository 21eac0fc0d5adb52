/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests that wait on after a signal that was caught. The kernel tells of the first signal only:
 * whether a fatal one follows is looked after here, ten times a second.
 * Owns:    a reference on each request, until it is answered: it may wait several times
 * Locking: its own mutex; any function from any thread
 */
#pragma once
#include "fuse/parked.h"

struct vigil;

struct vigil *vigil_new(struct alarm_clock *clock);
/* Takes over a reference. */
void vigil_keep(struct vigil *v, struct parked *p);
/* Nobody is parked any more. */
void vigil_free(struct vigil *v);
