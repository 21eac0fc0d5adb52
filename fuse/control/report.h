/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What `status` says, as JSON (members: lacunafs(1)). Builds in the caller's thread, holds
 * no lock while it formats. */
#pragma once
#include <json-glib/json-glib.h>

struct server;

void report_mount(struct server *s, JsonBuilder *b);
/* `bar`: how many slices; false: no such file is known. */
bool report_file(struct server *s, uint64_t ino, unsigned bar, JsonBuilder *b);
