/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/report_mirrors.h"
#include "fetch/source/wrap/mirrors.h"
#include "fuse/base/json.h"

static void add_failures(const struct source *source, JsonBuilder *b)
{
	json_builder_set_member_name(b, "failures");
	json_builder_begin_object(b);
	for (unsigned code = 0; code < FETCH_ERRORS; code++)
		if (fetch_error_class(code))
			json_add_int(b, fetch_error_class(code), source_failures(source, code));
	json_builder_end_object(b);
}

static const char *state_name(const struct mirror_info *m)
{
	return m->failed ? "failed" : m->used ? "in use" : "ready";
}

static void add_mirror(const struct mirror_info *m, void *user)
{
	JsonBuilder *b = user;
	int64_t now = clock_now();
	json_builder_begin_object(b);
	json_add_text(b, "url", m->url);
	json_add_text(b, "state", state_name(m));
	json_add_seconds(b, "since_s", m->since_ns ? now - m->since_ns : 0);
	json_add_seconds(b, "retry_in_s", m->failed ? MAX(m->until_ns - now, 0) : 0);
	json_add_int(b, "requests", m->requests);
	json_add_int(b, "errors", m->errors);
	add_failures(m->source, b);
	json_builder_set_member_name(b, "last_error");
	if (m->cause) {
		json_builder_begin_object(b);
		json_add_text(b, "cause", m->cause);
		json_add_time(b, "at", m->cause_ns);
		json_builder_end_object(b);
	} else {
		json_builder_add_null_value(b);
	}
	json_builder_end_object(b);
}

void report_mirrors(struct server *s, JsonBuilder *b)
{
	json_builder_set_member_name(b, "mirrors");
	json_builder_begin_array(b);
	if (s->mirrors)
		mirrors_foreach(s->mirrors, add_mirror, b);
	json_builder_end_array(b);
}

void report_failures(struct server *s, JsonBuilder *b)
{
	add_failures(s->source, b);
}

static void add_digest(JsonBuilder *b, const char *name, const char *digits)
{
	g_autofree char *text = *digits ? g_strconcat("sha256:", digits, NULL) : NULL;
	json_add_text(b, name, text);
}

void report_published(struct server *s, JsonBuilder *b)
{
	struct source_published p;
	json_builder_set_member_name(b, "published");
	if (!source_published(s->source, &p)) {
		json_builder_add_null_value(b);
		return;
	}
	json_builder_begin_object(b);
	add_digest(b, "root", p.root);
	json_add_int(b, "serial", p.serial);
	json_add_bool(b, "pinned", p.pinned);
	json_add_bool(b, "signed", p.is_signed);
	add_digest(b, "key", p.key);
	if (p.checked_ns)
		json_add_time(b, "checked", p.checked_ns);
	else
		json_add_text(b, "checked", NULL);
	json_add_int(b, "size", p.size);
	json_add_int(b, "files", p.files);
	json_add_int(b, "bytes", p.bytes);
	json_builder_end_object(b);
}
