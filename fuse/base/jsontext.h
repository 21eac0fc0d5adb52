/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* JSON from outside, before it is parsed and before it is shown. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* One object, at most `depth_max` deep, with nothing but blanks around it. Check a line before
 * json-glib parses it: json-glib recurses at each '[' and '{', so that a line of them exhausts the
 * stack; leaks all but the last of several documents on one line; and accepts comments and
 * assignments, which are not JSON. */
bool json_sane(const char *line, size_t length, unsigned depth_max);
/* `o` on one line without its newline; characters that control a terminal are written \uNNNN.
 * Caller frees. */
char *json_shown(JsonObject *o);

/* A member of an untrusted answer: `otherwise` where it is missing or of another type, about
 * which the library would complain. */
const char *json_text(JsonObject *o, const char *name, const char *otherwise);
int64_t json_int(JsonObject *o, const char *name, int64_t otherwise);
double json_seconds(JsonObject *o, const char *name);
bool json_true(JsonObject *o, const char *name);
/* An inode number, as decimal string or as number. */
bool json_ino(JsonNode *node, uint64_t *out);
