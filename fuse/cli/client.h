/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The client's end of the control socket.
 * Owns:   one connection, which is one request
 * Errors: LOCAL_ERROR; the message does not name the mount
 * Trust:  the peer must be root or the mount's owner: others can create files in /tmp. The answers
 *         of another user's daemon (root asks it too) are untrusted, as it may be any program:
 *         time, length and depth of its lines are bounded. Its texts reach
 *         a terminal through human_name() only
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
/* Takes `request`. */
bool client_send(struct client *c, JsonBuilder *request, GError **error);
/* The next line, within `timeout_ms`. *answer NULL: end of file. An answer of the form
 * {"error": …} and no more is an error. */
bool client_receive(struct client *c, int timeout_ms, JsonObject **answer, GError **error);
/* Waits for a line, or the end of file; false: the reader of stdout is gone. */
bool client_wait(struct client *c);
/* Open, send, one answer, close. Takes `request`. */
JsonObject *client_ask(const struct mount *m, JsonBuilder *request, GError **error);

/* A permitted peer listens on the mount's socket. */
bool client_reaches(const struct mount *m);
/* The mount belongs neither to this user nor to root. */
bool client_foreign(const struct mount *m);

enum { CLIENT_TIMEOUT_MS = 10000, CLIENT_FOREIGN_MS = 2000 };
