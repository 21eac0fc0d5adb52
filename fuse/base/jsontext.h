/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* JSON from somebody else, before it is parsed and before it is shown. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* One object, at most `depth_max` deep, and nothing but blanks around it. To be asked before
 * json-glib is, which recurses at each '[' and '{', so that a line of them takes the stack; leaks
 * all but the last of several documents on one line; and knows comments and assignments, which
 * are no JSON. */
bool json_sane(const char *line, size_t length, unsigned depth_max);
/* `o` on one line without its newline; what a terminal would obey is written \uNNNN. Caller
 * frees. */
char *json_shown(JsonObject *o);

/* Of an answer, which may be anybody's: `otherwise` where there is no such member or it is of
 * another type, about which the library would complain. */
const char *json_text(JsonObject *o, const char *name, const char *otherwise);
int64_t json_int(JsonObject *o, const char *name, int64_t otherwise);
double json_seconds(JsonObject *o, const char *name);
bool json_true(JsonObject *o, const char *name);
/* An inode number, as decimal string or as number. */
bool json_ino(JsonNode *node, uint64_t *out);
