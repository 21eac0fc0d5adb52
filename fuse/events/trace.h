/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Tracers: clients that are sent pre-content events as they end (`lacunafs trace`).
 * Shape:   lines of JSON; a slow client misses some, and gets their number
 * Locking: one mutex; sockets are asked not to block
 */
#pragma once
#include "fuse/events/event.h"

struct tracers;

struct tracers *tracers_new(void);
void tracers_free(struct tracers *t);
bool tracers_any(const struct tracers *t);
/* An event that has ended; `error`: positive errno, 0: the data is present. */
void tracers_tell(struct tracers *t, const struct event *e, int error);
/* Returns when the connection has ended. */
void tracer_serve(struct tracers *t, int fd);
