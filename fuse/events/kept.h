/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Handlers outlive the worker: their names and marks in the area, their connections in the keeper.
 * To the next worker a handler is attached as before; its answers to events of the worker before
 * are dropped: the requests come again, and with them new events.
 * Shape:   a place for each handler. Its marks are the changes of them, one after the other; when
 *          there is no room left, what they amount to is written to the other half
 * Limits:  KEPT_HANDLERS handlers, KEPT_MARKS_MAX changes and marks of each: what is beyond goes
 *          with the worker, and the log says so
 * Locking: registry.lock, for all but kept_restore()
 */
#pragma once
#include "fuse/events/registry_private.h"

#define KEPT_MARKS_MAX (UINT32_C(1) << 20)

/* The handler has a new connection, or its first. */
void kept_attached(struct handler *h);
/* It is lost, but its place stays. */
void kept_lost(struct handler *h);
/* It goes. */
void kept_drop(struct handler *h);
/* A mark has been set: as marks_set(). `scope` 0: the inode is gone: as marks_forget(). */
void kept_mark(struct handler *h, uint32_t scope, uint32_t flags, uint64_t ino);
/* Takeover: makes the handlers; those with a connection are to be served. */
void kept_restore(struct registry *all);
