/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/backing.h"
#include "fuse/inode.h"
#include "fuse/iomode.h"
#include "fuse/mishap.h"
#include "fuse/report.h"
#include "fuse/server.h"

static void add_int(JsonBuilder *b, const char *name, uint64_t value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_int_value(b, (gint64)MIN(value, INT64_MAX));
}

static void add_bool(JsonBuilder *b, const char *name, bool value)
{
	json_builder_set_member_name(b, name);
	json_builder_add_boolean_value(b, value);
}

/* File names are bytes, JSON is UTF-8: what is not becomes U+FFFD. */
static void add_text(JsonBuilder *b, const char *name, const char *value)
{
	json_builder_set_member_name(b, name);
	if (!value) {
		json_builder_add_null_value(b);
		return;
	}
	g_autofree char *valid = g_utf8_make_valid(value, -1);
	json_builder_add_string_value(b, valid);
}

/* To a millisecond: more digits say nothing. */
static void add_seconds(JsonBuilder *b, const char *name, int64_t ns)
{
	json_builder_set_member_name(b, name);
	json_builder_add_double_value(b, (double)(ns / 1000000) / 1000);
}

static void add_time(JsonBuilder *b, const char *name, int64_t realtime_ns)
{
	g_autoptr(GDateTime) at = g_date_time_new_from_unix_utc(realtime_ns / 1000000000);
	g_autofree char *text = at ? g_date_time_format_iso8601(at) : NULL;
	add_text(b, name, text);
}

static void add_process(JsonBuilder *b, pid_t pid)
{
	g_autofree char *file = g_strdup_printf("/proc/%d/comm", (int)pid);
	g_autofree char *comm = NULL;
	add_int(b, "pid", (uint64_t)pid);
	if (pid > 0 && g_file_get_contents(file, &comm, NULL, NULL))
		g_strchomp(comm);
	add_text(b, "comm", pid > 0 ? comm : "lacunafs");
}

struct scope {
	struct server *server;
	JsonBuilder *builder;
	const char *path; /* only this file's; NULL: all */
	int64_t now;
};

static void add_transfer(const struct fill_transfer_info *t, void *user)
{
	struct scope *scope = user;
	JsonBuilder *b = scope->builder;
	if (scope->path && strcmp(scope->path, t->path) != 0)
		return;
	g_autofree char *url = source_describe(scope->server->source, t->path);
	json_builder_begin_object(b);
	add_text(b, "path", t->path);
	add_text(b, "url", url);
	add_int(b, "offset", t->offset);
	add_int(b, "length", t->length);
	add_int(b, "arrived", t->arrived);
	add_seconds(b, "since_s", scope->now - t->since_ns);
	add_int(b, "attempt", t->attempt);
	add_seconds(b, "retry_in_s", t->retry_ns ? MAX(t->retry_ns - scope->now, 0) : 0);
	json_builder_set_member_name(b, "waiters");
	json_builder_begin_array(b);
	for (unsigned i = 0; t->waiters && i < t->waiters->len; i++) {
		const struct fill_waiter_info *w =
		        &g_array_index(t->waiters, struct fill_waiter_info, i);
		json_builder_begin_object(b);
		add_process(b, w->pid);
		add_int(b, "offset", w->offset);
		add_int(b, "length", w->length);
		add_seconds(b, "since_s", scope->now - w->since_ns);
		add_seconds(b, "until_s", MAX(w->until_ns - scope->now, 0));
		json_builder_end_object(b);
	}
	json_builder_end_array(b);
	json_builder_end_object(b);
}

static void add_transfers(struct server *s, const char *path, JsonBuilder *b)
{
	struct scope scope = {.server = s, .builder = b, .path = path, .now = clock_now()};
	json_builder_set_member_name(b, "transfers");
	json_builder_begin_array(b);
	fill_foreach_transfer(s->fill, add_transfer, &scope);
	json_builder_end_array(b);
}

static void add_listing_wait(const struct lister_wait_info *w, void *user)
{
	struct scope *scope = user;
	JsonBuilder *b = scope->builder;
	g_autofree char *url = source_describe(scope->server->source, w->path);
	json_builder_begin_object(b);
	add_text(b, "path", w->path);
	add_text(b, "url", url);
	add_bool(b, "attributes", w->attributes);
	add_process(b, w->pid);
	add_seconds(b, "since_s", scope->now - w->since_ns);
	add_seconds(b, "until_s", MAX(w->until_ns - scope->now, 0));
	json_builder_end_object(b);
}

static void add_network(JsonBuilder *b, const struct fill_counters *fill,
                        const struct lister_counters *lister)
{
	json_builder_set_member_name(b, "network");
	json_builder_begin_object(b);
	add_int(b, "bytes", fill->bytes_fetched);
	add_int(b, "requests", fill->requests + lister->listings + lister->attributes);
	add_int(b, "errors", fill->errors + lister->errors);
	add_bool(b, "source_down", lister->source_down);
	json_builder_end_object(b);

	json_builder_set_member_name(b, "chunks");
	json_builder_begin_object(b);
	add_int(b, "fetched", fill->chunks_fetched);
	add_int(b, "verified", fill->chunks_verified);
	add_int(b, "waiters", fill->waiters);
	json_builder_end_object(b);

	json_builder_set_member_name(b, "listings");
	json_builder_begin_object(b);
	add_int(b, "fetched", lister->listings);
	add_int(b, "unchanged", lister->listings_unchanged);
	add_int(b, "attributes", lister->attributes);
	add_int(b, "errors", lister->errors);
	json_builder_end_object(b);
}

static void add_store(struct server *s, JsonBuilder *b)
{
	uint64_t free_bytes = 0, total_bytes = 0;
	store_usage(s->store, &free_bytes, &total_bytes);
	json_builder_set_member_name(b, "store");
	json_builder_begin_object(b);
	add_text(b, "path", store_path(s->store));
	add_int(b, "bytes_served", __atomic_load_n(&s->bytes_from_store, __ATOMIC_RELAXED));
	add_int(b, "free_bytes", free_bytes);
	add_int(b, "total_bytes", total_bytes);
	json_builder_end_object(b);
}

void report_mount(struct server *s, JsonBuilder *b)
{
	struct fill_counters fill = {0};
	struct lister_counters lister = {0};
	fill_counters(s->fill, &fill);
	lister_counters(s->lister, &lister);
	const char *unusable = s->settings->passthrough ? backing_unusable(s->backing)
	                                                : "switched off by -o passthrough=no";
	json_builder_begin_object(b);
	add_text(b, "version", LACUNAFS_VERSION);
	add_int(b, "pid", (uint64_t)getpid());
	add_text(b, "source", s->settings->source);
	add_text(b, "mountpoint", s->settings->mountpoint);
	add_seconds(b, "uptime_s", clock_realtime() - s->started_ns);
	add_int(b, "inodes", inode_count(s->inodes));
	json_builder_set_member_name(b, "passthrough");
	json_builder_begin_object(b);
	add_bool(b, "usable", !unusable);
	add_text(b, "reason", unusable);
	json_builder_end_object(b);
	add_store(s, b);
	add_network(b, &fill, &lister);
	add_transfers(s, NULL, b);
	struct scope scope = {.server = s, .builder = b, .now = clock_now()};
	json_builder_set_member_name(b, "waiting_for_listings");
	json_builder_begin_array(b);
	lister_foreach_wait(s->lister, add_listing_wait, &scope);
	json_builder_end_array(b);
	json_builder_end_object(b);
}

static const char *kind_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
	case S_IFBLK:
		return "device";
	case S_IFIFO:
		return "fifo";
	default:
		return "socket";
	}
}

static void add_last_error(JsonBuilder *b, const struct content_info *info)
{
	json_builder_set_member_name(b, "last_error");
	if (!info->error) {
		json_builder_add_null_value(b);
		return;
	}
	json_builder_begin_object(b);
	add_int(b, "errno", (uint64_t)info->error);
	add_text(b, "name", strerrorname_np(info->error));
	add_text(b, "cause", info->cause);
	add_time(b, "at", info->error_ns);
	json_builder_end_object(b);
}

static void add_content(struct server *s, struct inode *i, unsigned bar, JsonBuilder *b)
{
	static const char *const modes[] = {"none", "cached", "passthrough"};
	struct content_info info = {0};
	struct content *c = inode_open_content(s, i);
	int error = content_open(c);
	content_info(c, bar, &info);
	if (error && !info.error)
		info.error = -error;
	struct mishap last;
	if (!info.error && mishaps_find(s->mishaps, i->ino, &last)) {
		info.error = last.error;
		info.error_ns = last.at_ns;
		info.cause = last.cause;
	}
	pthread_mutex_lock(&i->lock);
	unsigned mode = i->iomode, handles = i->handles;
	pthread_mutex_unlock(&i->lock);
	g_autofree char *reason = iomode_reason(s, i);

	add_int(b, "size", info.size);
	add_text(b, "content", info.complete ? "complete" : info.local_file ? "partial" : "remote");
	add_int(b, "chunk_size", info.chunk_size);
	add_int(b, "chunks", info.chunks);
	add_int(b, "present_chunks", info.present);
	add_int(b, "present_bytes",
	        info.complete ? info.size : MIN(info.present * info.chunk_size, info.size));
	add_int(b, "doubtful_chunks", info.doubtful);
	add_text(b, "mode", modes[MIN(mode, G_N_ELEMENTS(modes) - 1)]);
	add_int(b, "handles", handles);
	add_text(b, "passthrough_reason", reason);
	add_last_error(b, &info);
	json_builder_set_member_name(b, "bar");
	json_builder_begin_array(b);
	for (unsigned n = 0; info.bar && n < info.bar->len; n++)
		json_builder_add_int_value(b, info.bar->data[n]);
	json_builder_end_array(b);
	content_info_clear(&info);
	content_unref(c);
}

bool report_file(struct server *s, uint64_t ino, unsigned bar, JsonBuilder *b)
{
	struct inode *i = inode_find(s->inodes, ino);
	if (!i)
		return false;
	char number[24];
	g_snprintf(number, sizeof(number), "%" G_GUINT64_FORMAT, ino);
	g_autofree char *path = inode_path(s, i);
	g_autofree char *url = source_describe(s->source, path);
	json_builder_begin_object(b);
	add_text(b, "ino", number);
	add_text(b, "path", path);
	add_text(b, "url", url);
	add_text(b, "kind", kind_name(i->type));
	if (S_ISREG(i->type)) {
		add_content(s, i, bar, b);
		add_transfers(s, path, b);
	}
	json_builder_end_object(b);
	inode_put(s, i);
	return true;
}
