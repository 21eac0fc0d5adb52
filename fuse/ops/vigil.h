/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Watches requests that wait on after a caught signal. The kernel reports the first signal only:
 * the vigil checks ten times a second whether a fatal one follows.
 * Owns:    a reference on each request, until it is answered: it may wait several times
 * Locking: its own mutex; any function from any thread
 */
#pragma once
#include <stdbool.h>
#include "fetch/base/pool.h"

struct vigil;
struct parked;

/* `end_dying` ends the wait of a request if its caller dies; true: it is answered, or about to be.
 * `unref` drops a reference. */
struct vigil *vigil_new(struct alarm_clock *clock, bool (*end_dying)(struct parked *p),
                        void (*unref)(struct parked *p));
/* Takes a reference. */
void vigil_keep(struct vigil *v, struct parked *p);
/* After the last parked request. */
void vigil_free(struct vigil *v);
