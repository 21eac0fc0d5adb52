/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Members of JSON objects, as the control socket's answers have them. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

void json_add_int(JsonBuilder *b, const char *name, uint64_t value);
void json_add_bool(JsonBuilder *b, const char *name, bool value);
void json_add_text(JsonBuilder *b, const char *name, const char *value); /* NULL: null */
void json_add_seconds(JsonBuilder *b, const char *name, int64_t ns);
void json_add_time(JsonBuilder *b, const char *name, int64_t realtime_ns);
void json_add_process(JsonBuilder *b, pid_t pid); /* "pid" and "comm" */
/* The built object on one line, with a newline and without a NUL; caller frees. */
char *json_line(JsonBuilder *b, gsize *length);
