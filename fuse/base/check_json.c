/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/check_json.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"

void check_json_add_finding(JsonBuilder *b, const struct check_finding *f)
{
	json_add_text(b, "path", f->path);
	json_add_text(b, "what", f->what);
	json_add_text(b, "remedy", f->remedy);
	json_add_bool(b, "repaired", f->repaired);
	json_add_bool(b, "unread", f->unread);
}

void check_json_add_totals(JsonBuilder *b, const struct check_totals *t)
{
	json_add_int(b, "objects", t->objects);
	json_add_int(b, "bytes", t->bytes);
	json_add_int(b, "damaged", t->damaged);
	json_add_int(b, "repaired", t->repaired);
	json_add_int(b, "unread", t->unread);
}

bool check_json_finding(JsonObject *o, struct check_finding *out)
{
	const char *path = json_text(o, "path", NULL);
	if (!path)
		return false;
	*out = (struct check_finding){
	        .path = path,
	        .what = json_text(o, "what", ""),
	        .remedy = json_text(o, "remedy", NULL),
	        .repaired = json_true(o, "repaired"),
	        .unread = json_true(o, "unread"),
	};
	return true;
}

static uint64_t count_of(JsonObject *o, const char *name)
{
	return (uint64_t)MAX(json_int(o, name, 0), 0);
}

void check_json_totals(JsonObject *o, struct check_totals *out)
{
	*out = (struct check_totals){
	        .objects = count_of(o, "objects"),
	        .bytes = count_of(o, "bytes"),
	        .damaged = count_of(o, "damaged"),
	        .repaired = count_of(o, "repaired"),
	        .unread = count_of(o, "unread"),
	};
}
