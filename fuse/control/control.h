/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The control socket of a mount: include/lacuna/control.h is the protocol.
 * One thread accepts; one thread per client, few and checked by peer credentials
 * (the mount's owner and root). A slow or dead client delays no other. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct server;
struct control;

/* `dev`: st_dev of the mount. `listener`: of the worker before this one; -1: makes one. */
struct control *control_new(struct server *server, unsigned dev_major, unsigned dev_minor,
                            int listener, GError **error);
/* The listening socket, borrowed. */
int control_listener(const struct control *c);
/* Stops listening, ends every client, removes the socket. */
void control_free(struct control *c);
