/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The answers of the control socket as text for people: lines that end in a newline.
 * Trust: members that are missing or of another type read as zero or empty
 */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>

void view_mount(JsonObject *answer, GString *out);
/* `name`: as the user gave it. */
void view_file(JsonObject *answer, const char *name, bool utf8, GString *out);
