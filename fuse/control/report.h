/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The answers of `status`, as JSON (members: lacunafs(1)). Runs in the caller's thread, without a
 * lock while formatting. */
#pragma once
#include <json-glib/json-glib.h>

struct server;

void report_mount(struct server *s, JsonBuilder *b);
/* `bar`: number of slices; false: no such file is known. */
bool report_file(struct server *s, uint64_t ino, unsigned bar, JsonBuilder *b);
