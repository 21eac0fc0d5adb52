/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The disk space of the store, for status: lacunafs(1). */
#pragma once
#include <json-glib/json-glib.h>

struct server;

/* Adds the member "space". */
void report_space(struct server *s, JsonBuilder *b);
