/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A worker takes over the inodes and handles that the one before it left in the area.
 *
 *     believed:  what a slot says of its file: names, numbers, attributes, seals; lookup counts;
 *                handles that are alive
 *     made again: locks, references, counts of handles, the I/O mode, free lists, hash tables;
 *                contents, directories and descriptors when they are needed
 *
 * Refused: an area with a pointer that leads out of it, or a name without an end: no wrong file is
 *          ever served
 * Locking: before any thread is started
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct server;

/* After engine_start(), before the session. */
bool takeover_begin(struct server *s, GError **error);
/* It serves: logs why, and how long it took. `asked`: the worker before was told to end. */
void takeover_tell(struct server *s, bool asked);
/* Once backing ids can be closed: of files that are not open any more. */
void takeover_backing(struct server *s);
