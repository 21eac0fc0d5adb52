/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Checks the store of a mount for a client, line by line: control.h. Runs in the caller's thread,
 * and reads the disk. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>

struct server;

struct verifier_ops {
	bool (*line)(void *user, JsonBuilder *b); /* false: the client is gone */
	bool (*wanted)(void *user);
};

void verifier_run(struct server *s, bool repair, bool bytes, const struct verifier_ops *ops,
                  void *user);
