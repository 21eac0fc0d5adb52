/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Who is told of pre-content events as they end (`lacunafs trace`).
 * Shape:   lines of JSON; who does not read them in time misses some, and is told how many
 * Locking: one mutex; sockets are asked not to block
 */
#pragma once
#include "fuse/events/event.h"

struct tracers;

struct tracers *tracers_new(void);
void tracers_free(struct tracers *t);
bool tracers_any(const struct tracers *t);
/* An event that has ended, and how; `error`: positive errno, 0: the bytes are there. */
void tracers_tell(struct tracers *t, const struct event *e, int error);
/* Until the connection ends. */
void tracer_serve(struct tracers *t, int fd);
