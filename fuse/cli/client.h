/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The other end of the control socket.
 * Owns:   one connection, which is one request
 * Errors: LOCAL_ERROR; the message does not name the mount
 * Trust:  the peer must be root or the mount's owner: others may make files in /tmp. What another
 *         user's daemon says (root asks it too) may be anything, from a program that is none of
 *         ours: it has little time, and lines that are neither long nor deep. Texts in it go
 *         to a terminal through human_name() only
 */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>
#include "fuse/base/mounts.h"

struct client;

struct client *client_open(const struct mount *m, GError **error);
void client_close(struct client *c);
pid_t client_peer(const struct client *c); /* the daemon's */
/* Takes over `request`. */
bool client_send(struct client *c, JsonBuilder *request, GError **error);
/* The next line, within `timeout_ms`. *answer NULL: end of file. An answer of the form
 * {"error": …} and no more is an error. */
bool client_receive(struct client *c, int timeout_ms, JsonObject **answer, GError **error);
/* Whether a line has come, or the end; false: nobody reads stdout any more. Waits. */
bool client_wait(struct client *c);
/* Open, send, one answer, close. `request` is taken over. */
JsonObject *client_ask(const struct mount *m, JsonBuilder *request, GError **error);

/* Somebody who may serve it listens. */
bool client_reaches(const struct mount *m);
/* The mount is neither ours nor root's. */
bool client_foreign(const struct mount *m);

enum { CLIENT_TIMEOUT_MS = 10000, CLIENT_FOREIGN_MS = 2000 };
