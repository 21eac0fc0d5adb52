/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Lines of JSON over a connection of the control socket, in both directions.
 * Limits:  a line in has LACUNA_CONTROL_LINE bytes and WIRE_PATIENCE_MS at most
 */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#define WIRE_PATIENCE_MS 10000

/* false: the peer is gone. */
bool wire_send(int fd, JsonBuilder *b);
/* A line with `error` alone. */
void wire_refuse(int fd, const char *message);
/* Ends a connection whose request was not read to its end. If it were closed at once, the peer
 * would see ECONNRESET after the answer, or before it while still sending. */
void wire_hang_up(int fd, int patience_ms);
/* One line, its newline taken off; NULL: too long, too slow, or no line at all. Caller frees. */
GByteArray *wire_receive(int fd);
