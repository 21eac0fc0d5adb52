/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a check of a store found, as JSON: of the daemon's answers, and of `lacunafs verify --json`.
 *
 *      finding  {"path", "what", "remedy", "repaired", "unread"}
 *      totals   {"objects", "bytes", "damaged", "repaired", "unread"}
 */
#pragma once
#include <json-glib/json-glib.h>
#include "fetch/check/check.h"

/* Add the members to the object that is being built. */
void check_json_add_finding(JsonBuilder *b, const struct check_finding *f);
void check_json_add_totals(JsonBuilder *b, const struct check_totals *t);
/* false: `o` is not a finding. The texts of *out are borrowed from `o`. */
bool check_json_finding(JsonObject *o, struct check_finding *out);
/* A member that is missing or negative is 0. */
void check_json_totals(JsonObject *o, struct check_totals *out);
