/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <string.h>
#include "fuse/cli/view.h"
#include "fuse/base/human.h"
#include "fuse/base/jsontext.h"
#include "fuse/cli/bar.h"

enum {
	TRANSFERS_MAX = 12,
	WAITERS_MAX = 4,
	HANDLERS_MAX = 32,
	MIRRORS_MAX = 16,
	SLICES_MAX = 4096
};

static uint64_t number(JsonObject *o, const char *name)
{
	gint64 value = o ? json_int(o, name, 0) : 0;
	return value > 0 ? (uint64_t)value : 0;
}

static double seconds(JsonObject *o, const char *name)
{
	return o ? json_seconds(o, name) : 0;
}

static bool truth(JsonObject *o, const char *name)
{
	return o && json_true(o, name);
}

static char *text(JsonObject *o, const char *name)
{
	return human_name(o ? json_text(o, name, "") : "");
}

static JsonObject *object(JsonObject *o, const char *name)
{
	JsonNode *node = o ? json_object_get_member(o, name) : NULL;
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static JsonArray *array(JsonObject *o, const char *name)
{
	JsonNode *node = o ? json_object_get_member(o, name) : NULL;
	return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

static JsonObject *element(JsonArray *list, unsigned i)
{
	JsonNode *node = json_array_get_element(list, i);
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static unsigned length(JsonArray *list)
{
	return list ? json_array_get_length(list) : 0;
}

static void row(GString *out, const char *label, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void row(GString *out, const char *label, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_string_append_printf(out, "  %-12s ", label);
	g_string_append_vprintf(out, format, args);
	g_string_append_c(out, '\n');
	va_end(args);
}

static void row_count(GString *out, JsonObject *o, const char *label, const char *member,
                      const char *what)
{
	g_autofree char *count = human_count(number(o, member));
	row(out, label, "%s %s", count, what);
}

static void view_waiter(JsonObject *w, bool range, GString *out)
{
	g_autofree char *comm = text(w, "comm");
	g_autofree char *size = human_size(number(w, "length"));
	g_autofree char *offset = human_size(number(w, "offset"));
	g_autofree char *since = human_duration(seconds(w, "since_s"));
	g_autofree char *until = human_duration(seconds(w, "until_s"));
	g_string_append_printf(out, "      %s[%u] waits ", comm, (unsigned)number(w, "pid"));
	if (range)
		g_string_append_printf(out, "for %s at %s, ", size, offset);
	g_string_append_printf(out, "for %s so far, at most %s more\n", since, until);
}

static void view_transfer(JsonObject *t, GString *out)
{
	g_autofree char *url = text(t, "url");
	g_autofree char *size = human_size(number(t, "length"));
	g_autofree char *offset = human_size(number(t, "offset"));
	g_autofree char *arrived = human_size(number(t, "arrived"));
	g_autofree char *since = human_duration(seconds(t, "since_s"));
	g_autofree char *retry = human_duration(seconds(t, "retry_in_s"));
	g_string_append_printf(out, "    %s\n      %s of %s at %s, for %s", url, arrived, size,
	                       offset, since);
	if (number(t, "attempt"))
		g_string_append_printf(out, ", attempt %u", (unsigned)number(t, "attempt") + 1);
	if (seconds(t, "retry_in_s") > 0)
		g_string_append_printf(out, " in %s", retry);
	g_string_append_c(out, '\n');
	JsonArray *waiters = array(t, "waiters");
	for (unsigned i = 0; i < MIN(length(waiters), WAITERS_MAX); i++)
		view_waiter(element(waiters, i), true, out);
	if (length(waiters) > WAITERS_MAX)
		g_string_append_printf(out, "      and %u more\n", length(waiters) - WAITERS_MAX);
}

static void view_transfers(JsonObject *answer, GString *out)
{
	JsonArray *transfers = array(answer, "transfers");
	JsonArray *listings = array(answer, "waiting_for_listings");
	unsigned shown = MIN(length(transfers), TRANSFERS_MAX);
	if (!length(transfers) && !length(listings)) {
		row(out, "on its way", "nothing");
		return;
	}
	row(out, "on its way", "%u transfer%s", length(transfers),
	    length(transfers) == 1 ? "" : "s");
	for (unsigned i = 0; i < shown; i++)
		view_transfer(element(transfers, i), out);
	if (shown < length(transfers))
		g_string_append_printf(out, "    and %u more\n", length(transfers) - shown);
	for (unsigned i = 0; i < MIN(length(listings), TRANSFERS_MAX); i++) {
		JsonObject *w = element(listings, i);
		g_autofree char *url = text(w, "url");
		g_string_append_printf(out, "    %s (%s)\n", url,
		                       truth(w, "attributes") ? "its size" : "its listing");
		view_waiter(w, false, out);
	}
}

static void view_confinement(JsonObject *answer, GString *out)
{
	static const char *const parts[][2] = {{"files", "files"},
	                                       {"system_calls", "system calls"},
	                                       {"capabilities", "capabilities"}};
	JsonObject *o = object(answer, "confinement");
	g_autoptr(GString) words = g_string_new(NULL);
	for (unsigned n = 0; o && n < G_N_ELEMENTS(parts); n++) {
		g_autofree char *why = text(o, parts[n][0]);
		g_string_append_printf(words, "%s%s%s%s", words->len ? "; " : "",
		                       *why ? "not in its " : "", parts[n][1], *why ? ": " : "");
		g_string_append(words, why);
	}
	if (o)
		row(out, "confined", "%s", words->str);
}

static void view_passthrough(JsonObject *answer, GString *out)
{
	JsonObject *o = object(answer, "passthrough");
	g_autofree char *reason = text(o, "reason");
	if (truth(o, "usable"))
		row(out, "passthrough", "yes, for complete files");
	else
		row(out, "passthrough", "no: %s", reason);
}

static void view_log(JsonObject *answer, GString *out)
{
	JsonObject *o = object(answer, "log");
	g_autofree char *waiting = human_count(number(o, "waiting"));
	g_autofree char *lost = human_count(number(o, "lost"));
	if (number(o, "waiting") || number(o, "lost"))
		row(out, "log", "%s messages wait to be written, %s were lost", waiting, lost);
}

static void view_mirrors(JsonObject *answer, GString *out)
{
	JsonArray *list = array(answer, "mirrors");
	for (unsigned n = 0; n < MIN(length(list), MIRRORS_MAX); n++) {
		JsonObject *m = element(list, n), *last = object(m, "last_error");
		g_autofree char *url = text(m, "url");
		g_autofree char *state = text(m, "state");
		g_autofree char *cause = text(last, "cause");
		g_autofree char *at = text(last, "at");
		g_autofree char *since = human_duration(seconds(m, "since_s"));
		g_autofree char *next = human_duration(seconds(m, "retry_in_s"));
		g_autofree char *label = g_strdup_printf("mirror %u", n + 1);
		if (strcmp(state, "failed") == 0)
			row(out, label, "%s  failed %s ago, tested in %s", url, since, next);
		else
			row(out, label, "%s  %s", url, state);
		if (*cause)
			row(out, "", "last failure %s: %s", at, cause);
	}
}

static void view_published(JsonObject *answer, GString *out)
{
	JsonObject *p = object(answer, "published");
	g_autofree char *root = text(p, "root");
	g_autofree char *key = text(p, "key");
	g_autofree char *checked = text(p, "checked");
	if (!*root)
		return;
	row(out, "published", "%s%s", root, truth(p, "pinned") ? "  (pinned)" : "");
	if (*checked)
		row(out, "", "the newest at %s", checked);
	if (*key)
		row(out, "signed by", "%s", key);
}

static void view_handlers(JsonObject *answer, GString *out)
{
	JsonArray *list = array(answer, "handlers");
	for (unsigned n = 0; n < MIN(length(list), HANDLERS_MAX); n++) {
		JsonObject *h = element(list, n);
		g_autofree char *comm = text(h, "comm");
		g_autofree char *name = text(h, "name");
		g_autofree char *state = text(h, "state");
		row(out, "handler", "%s[%u]%s%s: %s, %u waiting", comm, (unsigned)number(h, "pid"),
		    name[0] ? " " : "", name, state, (unsigned)number(h, "waiting"));
	}
}

/* Space used and fetched, the limits, and what was evicted and kept. */
static void view_space(JsonObject *answer, GString *out)
{
	JsonObject *space = object(answer, "space");
	g_autofree char *used = human_size(number(space, "used_bytes"));
	g_autofree char *fetched = human_size(number(space, "fetched_bytes"));
	g_autofree char *open = human_size(number(space, "open_bytes"));
	g_autofree char *quota = human_size(number(space, "quota_bytes"));
	g_autofree char *spare = human_size(number(space, "min_free_bytes"));
	g_autofree char *evicted = human_size(number(space, "evicted_bytes"));
	unsigned pins = (unsigned)number(space, "pins");
	if (truth(space, "measured"))
		row(out, "space", "%s used, %s fetched; open files hold %s", used, fetched, open);
	else
		row(out, "space", "being measured; open files hold %s", open);
	row(out, "limits", "%s stays free; quota %s", spare,
	    number(space, "quota_bytes") ? quota : "none");
	if (number(space, "evicted_files") || pins)
		row(out, "evicted", "%u files, %s; %u pins",
		    (unsigned)number(space, "evicted_files"), evicted, pins);
	JsonObject *kept = object(space, "kept");
	if (number(space, "failed_rounds"))
		row(out, "kept", "%u in use, %u pinned, %u sealed, %u not confirmed by the source",
		    (unsigned)number(kept, "in_use"), (unsigned)number(kept, "pinned"),
		    (unsigned)number(kept, "sealed"), (unsigned)number(kept, "unconfirmed"));
}

void view_mount(JsonObject *answer, GString *out)
{
	JsonObject *network = object(answer, "network"), *store = object(answer, "store");
	g_autofree char *point = text(answer, "mountpoint");
	g_autofree char *source = text(answer, "source");
	g_autofree char *path = text(store, "path");
	g_autofree char *up = human_duration(seconds(answer, "uptime_s"));
	g_autofree char *fetched = human_size(number(network, "bytes"));
	g_autofree char *requests = human_count(number(network, "requests"));
	g_autofree char *errors = human_count(number(network, "errors"));
	g_autofree char *served = human_size(number(store, "bytes_served"));
	g_autofree char *left = human_size(number(store, "free_bytes"));
	g_autofree char *total = human_size(number(store, "total_bytes"));
	g_string_append_printf(out, "%s\n", point);
	row(out, "source", "%s%s", source,
	    truth(network, "offline")       ? "  (offline)"
	    : truth(network, "source_down") ? "  (unreachable)"
	                                    : "");
	view_mirrors(answer, out);
	view_published(answer, out);
	row(out, "store", "%s", path);
	row(out, "disk", "%s of %s free%s", left, total,
	    truth(store, "failed") ? "  (failed to write; mount again)" : "");
	if (number(store, "set_aside") > 0)
		row(out, "set aside", "%u in state/orphans", (unsigned)number(store, "set_aside"));
	view_space(answer, out);
	view_log(answer, out);
	row(out, "network", "%s in %s requests, %s errors", fetched, requests, errors);
	row(out, "served", "%s by the daemon", served);
	view_passthrough(answer, out);
	view_confinement(answer, out);
	row_count(out, answer, "inodes", "inodes", "known to the kernel");
	row(out, "running", "%s, pid %u", up, (unsigned)number(answer, "pid"));
	view_handlers(answer, out);
	view_transfers(answer, out);
}

static void view_content(JsonObject *answer, GString *out)
{
	g_autofree char *state = text(answer, "content");
	g_autofree char *present = human_size(number(answer, "present_bytes"));
	g_autofree char *size = human_size(number(answer, "size"));
	g_autofree char *some = human_count(number(answer, "present_chunks"));
	g_autofree char *chunks = human_count(number(answer, "chunks"));
	g_autofree char *chunk = human_size(number(answer, "chunk_size"));
	g_autofree char *mode = text(answer, "mode");
	g_autofree char *reason = text(answer, "passthrough_reason");
	unsigned handles = (unsigned)number(answer, "handles");
	row(out, "content", "%s: %s of %s, %s of %s chunks of %s", state, present, size, some,
	    chunks, chunk);
	if (number(answer, "doubtful_chunks"))
		row_count(out, answer, "to verify", "doubtful_chunks",
		          "chunks, before their first use");
	if (handles)
		row(out, "open", "%u time%s, %s", handles, handles == 1 ? "" : "s", mode);
	else
		row(out, "open", "no");
	bool never = json_object_has_member(answer, "passthrough_later") &&
	             !truth(answer, "passthrough_later");
	row(out, "passthrough", "%s%s", *reason ? never ? "no: " : "not yet: " : "yes", reason);
}

static void view_error(JsonObject *answer, GString *out)
{
	JsonObject *o = object(answer, "last_error");
	g_autofree char *name = text(o, "name");
	g_autofree char *cause = text(o, "cause");
	g_autofree char *at = text(o, "at");
	if (o && *name)
		row(out, "last error", "%s, %s: %s", name, at, cause);
	else if (o)
		row(out, "last error", "%s", cause);
}

static void view_bar(JsonObject *answer, bool utf8, GString *out)
{
	JsonArray *list = array(answer, "bar");
	unsigned count = MIN(length(list), SLICES_MAX);
	g_autofree uint8_t *slices = g_new0(uint8_t, (gsize)count + 1);
	if (!count)
		return;
	for (unsigned i = 0; i < count; i++) {
		JsonNode *node = json_array_get_element(list, i);
		gint64 value = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : 0;
		slices[i] = (uint8_t)CLAMP(value, 0, 255);
	}
	g_autofree char *bar = bar_draw(slices, count, utf8);
	g_string_append_printf(out, "%s\n", bar);
}

void view_file(JsonObject *answer, const char *name, bool utf8, GString *out)
{
	g_autofree char *shown = human_name(name);
	g_autofree char *url = text(answer, "url");
	g_autofree char *kind = text(answer, "kind");
	g_string_append_printf(out, "%s\n", shown);
	row(out, "source", "%s", url);
	if (strcmp(kind, "file") != 0) {
		row(out, "kind", "%s", kind);
		view_error(answer, out);
		return;
	}
	view_content(answer, out);
	view_error(answer, out);
	view_transfers(answer, out);
	view_bar(answer, utf8, out);
}
