/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/confinement.h"
#include "fuse/base/json.h"
#include "fuse/control/report_space.h"
#include "fuse/base/log.h"
#include "fuse/control/report_mirrors.h"
#include "fuse/events/registry.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/inode.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/iomode.h"
#include "fuse/inode/mishap.h"
#include "fuse/inode/names.h"
#include "fuse/inode/pinned.h"
#include "fuse/inode/server.h"
#include "fuse/base/area.h"
#include "fuse/keeper/keeping.h"
#include "fuse/ops/meter.h"

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
	json_add_text(b, "path", t->path);
	json_add_text(b, "url", url);
	json_add_int(b, "offset", t->offset);
	json_add_int(b, "length", t->length);
	json_add_int(b, "arrived", t->arrived);
	json_add_seconds(b, "since_s", scope->now - t->since_ns);
	json_add_int(b, "attempt", t->attempt);
	json_add_seconds(b, "retry_in_s", t->retry_ns ? MAX(t->retry_ns - scope->now, 0) : 0);
	json_builder_set_member_name(b, "waiters");
	json_builder_begin_array(b);
	for (unsigned i = 0; t->waiters && i < t->waiters->len; i++) {
		const struct fill_waiter_info *w =
		        &g_array_index(t->waiters, struct fill_waiter_info, i);
		json_builder_begin_object(b);
		json_add_process(b, w->pid);
		json_add_int(b, "offset", w->offset);
		json_add_int(b, "length", w->length);
		json_add_seconds(b, "since_s", scope->now - w->since_ns);
		json_add_seconds(b, "until_s", MAX(w->until_ns - scope->now, 0));
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
	json_add_text(b, "path", w->path);
	json_add_text(b, "url", url);
	json_add_bool(b, "attributes", w->attributes);
	json_add_process(b, w->pid);
	json_add_seconds(b, "since_s", scope->now - w->since_ns);
	json_add_seconds(b, "until_s", MAX(w->until_ns - scope->now, 0));
	json_builder_end_object(b);
}

static void add_network(JsonBuilder *b, struct server *s, const struct fill_counters *fill,
                        const struct lister_counters *lister)
{
	json_builder_set_member_name(b, "network");
	json_builder_begin_object(b);
	json_add_int(b, "bytes", fill->bytes_fetched);
	json_add_int(b, "requests", fill->requests + lister->listings + lister->attributes);
	json_add_int(b, "errors", fill->errors + lister->errors);
	json_add_bool(b, "source_down", lister->source_down);
	json_add_bool(b, "offline", s->settings->source_options.offline);
	report_failures(s, b);
	json_builder_end_object(b);

	json_builder_set_member_name(b, "chunks");
	json_builder_begin_object(b);
	json_add_int(b, "fetched", fill->chunks_fetched);
	json_add_int(b, "verified", fill->chunks_verified);
	json_add_int(b, "waiters", fill->waiters);
	json_builder_end_object(b);

	json_builder_set_member_name(b, "listings");
	json_builder_begin_object(b);
	json_add_int(b, "fetched", lister->listings);
	json_add_int(b, "unchanged", lister->listings_unchanged);
	json_add_int(b, "attributes", lister->attributes);
	json_add_int(b, "errors", lister->errors);
	json_builder_end_object(b);
}

static void add_store(struct server *s, JsonBuilder *b)
{
	uint64_t free_bytes = 0, total_bytes = 0;
	store_usage(s->store, &free_bytes, &total_bytes);
	json_builder_set_member_name(b, "store");
	json_builder_begin_object(b);
	json_add_text(b, "path", store_path(s->store));
	json_add_int(b, "bytes_served", meter_bytes_read(s->meter));
	json_add_int(b, "free_bytes", free_bytes);
	json_add_int(b, "total_bytes", total_bytes);
	json_add_int(b, "set_aside", store_set_aside(s->store));
	json_add_bool(b, "failed", store_failed(s->store));
	json_builder_end_object(b);
}

static void add_log(JsonBuilder *b)
{
	uint64_t waiting, lost;
	log_state(&waiting, &lost);
	json_builder_set_member_name(b, "log");
	json_builder_begin_object(b);
	json_add_int(b, "waiting", waiting);
	json_add_int(b, "lost", lost);
	json_builder_end_object(b);
}

static void add_confinement(const struct confinement *c, JsonBuilder *b)
{
	json_builder_set_member_name(b, "confinement");
	json_builder_begin_object(b);
	json_add_text(b, "files", c->files);
	json_add_text(b, "system_calls", c->calls);
	json_add_text(b, "capabilities", c->privileges);
	json_add_text(b, "kept", c->capabilities);
	json_builder_end_object(b);
}

static void add_handler(const struct handler_info *h, void *user)
{
	JsonBuilder *b = user;
	json_builder_begin_object(b);
	json_add_text(b, "name", h->name);
	json_add_process(b, h->pid);
	json_add_text(b, "state", h->lost ? "lost" : "attached");
	json_add_text(b, "mode", h->every ? "every" : "holes");
	json_add_text(b, "class", h->content ? "content" : "pre-content");
	json_add_int(b, "marks", h->marks);
	json_add_int(b, "waiting", h->waiting);
	json_add_int(b, "answered", h->answered);
	json_add_int(b, "denied", h->denied);
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
	json_add_text(b, "version", LACUNAFS_VERSION);
	json_add_int(b, "pid", (uint64_t)s->keeping->keeper);
	json_add_int(b, "worker", (uint64_t)getpid());
	json_add_int(b, "takeovers", s->area->workers - 1);
	json_add_text(b, "source", s->settings->source);
	json_add_text(b, "mountpoint", s->settings->mountpoint);
	json_add_seconds(b, "uptime_s", clock_realtime() - s->started_ns);
	json_add_int(b, "inodes", inode_count(s->inodes));
	json_builder_set_member_name(b, "passthrough");
	json_builder_begin_object(b);
	json_add_bool(b, "usable", !unusable);
	json_add_text(b, "reason", unusable);
	json_builder_end_object(b);
	add_confinement(s->confinement, b);
	add_store(s, b);
	report_space(s, b);
	add_log(b);
	add_network(b, s, &fill, &lister);
	report_mirrors(s, b);
	report_published(s, b);
	add_transfers(s, NULL, b);
	struct scope scope = {.server = s, .builder = b, .now = clock_now()};
	json_builder_set_member_name(b, "waiting_for_listings");
	json_builder_begin_array(b);
	lister_foreach_wait(s->lister, add_listing_wait, &scope);
	json_builder_end_array(b);
	json_builder_set_member_name(b, "handlers");
	json_builder_begin_array(b);
	registry_foreach(s->handlers, add_handler, b);
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
	json_add_int(b, "errno", (uint64_t)info->error);
	json_add_text(b, "name", strerrorname_np(info->error));
	json_add_text(b, "cause", info->cause);
	json_add_time(b, "at", info->error_ns);
	json_builder_end_object(b);
}

/* Why a directory could not be listed, or an entry's attributes not fetched. Takes `cause`. */
static void add_listing_error(char *cause, JsonBuilder *b)
{
	json_builder_set_member_name(b, "last_error");
	if (cause) {
		json_builder_begin_object(b);
		json_add_text(b, "cause", cause);
		json_builder_end_object(b);
	} else {
		json_builder_add_null_value(b);
	}
	g_free(cause);
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
	if (i->born) { /* made here: no chunk of it can be absent */
		info.complete = true;
		info.present = info.chunks;
		if (info.bar)
			memset(info.bar->data, UINT8_MAX, info.bar->len);
	}
	struct mishap last;
	if (!info.error && mishaps_find(s->mishaps, i->ino, &last)) {
		info.error = last.error;
		info.error_ns = last.at_ns;
		info.cause = last.cause;
	}
	mutex_lock(&i->lock);
	unsigned mode = i->iomode, handles = i->handles;
	mutex_unlock(&i->lock);
	g_autofree char *reason = iomode_reason(s, i, !error && content_lasts(c));

	json_add_int(b, "size", info.size);
	json_add_text(b, "content",
	              info.complete     ? "complete"
	              : info.local_file ? "partial"
	                                : "remote");
	json_add_int(b, "chunk_size", info.chunk_size);
	json_add_int(b, "chunks", info.chunks);
	json_add_int(b, "present_chunks", info.present);
	json_add_int(b, "present_bytes",
	             info.complete ? info.size : MIN(info.present * info.chunk_size, info.size));
	json_add_int(b, "doubtful_chunks", info.doubtful);
	json_add_text(b, "mode", modes[MIN(mode, G_N_ELEMENTS(modes) - 1)]);
	json_add_int(b, "handles", handles);
	json_add_text(b, "passthrough_reason", reason);
	json_add_bool(b, "passthrough_later", reason && iomode_may_pass(s, i));
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
	g_snprintf(number, sizeof(number), "%" G_GUINT64_FORMAT, i->shown);
	g_autofree char *path = inode_path_known(s, i);
	g_autofree char *url = source_describe(s->source, path);
	json_builder_begin_object(b);
	json_add_text(b, "ino", number);
	json_add_text(b, "path", path);
	json_add_text(b, "url", url);
	json_add_text(b, "kind", kind_name(i->type));
	json_add_bool(b, "pinned", inode_is_pinned(s, i));
	if (S_ISREG(i->type)) {
		add_content(s, i, bar, b);
		add_transfers(s, path, b);
	} else if (S_ISDIR(i->type)) {
		add_listing_error(directory_cause(inode_open_directory(s, i)), b);
	}
	json_builder_end_object(b);
	inode_put(s, i);
	return true;
}
