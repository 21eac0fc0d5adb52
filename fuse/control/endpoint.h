/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Serves the metrics over HTTP/1 at -o metrics=: GET /metrics, one request a connection.
 * Shape:   one thread, for all connections: at most ENDPOINT_CLIENTS at a time, each of at most
 *          ENDPOINT_MS and HTTP_REQUEST_MAX bytes
 * Access:  a socket of mode 0600 (its owner and root), or any process of this machine: metrics
 *          name no file and no credential
 */
#pragma once
#include <glib.h>

struct server;
struct endpoint;

enum { ENDPOINT_CLIENTS = 16, ENDPOINT_MS = 5000 };

/* `where`: as of address.h. A socket that nobody listens at is replaced. */
struct endpoint *endpoint_new(struct server *s, const char *where, GError **error);
/* Ends all connections and removes the socket. */
void endpoint_free(struct endpoint *e);
