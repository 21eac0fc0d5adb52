/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/metrics.h"
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include "fetch/source/wrap/mirrors.h"
#include "fuse/base/log.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/server.h"
#include "fuse/ops/meter.h"

/* `unit` NULL: none; else the name ends with it. */
static void family(GString *t, const char *name, const char *type, const char *unit,
                   const char *help)
{
	g_string_append_printf(t, "# TYPE %s %s\n", name, type);
	if (unit)
		g_string_append_printf(t, "# UNIT %s %s\n", name, unit);
	g_string_append_printf(t, "# HELP %s %s\n", name, help);
}

static void gauge(GString *t, const char *name, const char *unit, const char *help, uint64_t value)
{
	family(t, name, "gauge", unit, help);
	g_string_append_printf(t, "%s %" G_GUINT64_FORMAT "\n", name, value);
}

/* `label` NULL: none. */
static void sample(GString *t, const char *name, const char *label, const char *value,
                   uint64_t number)
{
	g_string_append_printf(t, "%s_total", name);
	if (label)
		g_string_append_printf(t, "{%s=\"%s\"}", label, value);
	g_string_append_printf(t, " %" G_GUINT64_FORMAT "\n", number);
}

static void counter(GString *t, const char *name, const char *unit, const char *help,
                    uint64_t value)
{
	family(t, name, "counter", unit, help);
	sample(t, name, NULL, NULL, value);
}

static void append_seconds(GString *t, double seconds)
{
	char text[G_ASCII_DTOSTR_BUF_SIZE];
	g_string_append(t, g_ascii_formatd(text, sizeof text, "%.9g", seconds));
}

static void add_requests(GString *t, const struct meter *m)
{
	const char *name = "lacunafs_requests";
	struct meter_op op;
	family(t, name, "counter", NULL, "Requests of the kernel, by operation.");
	for (unsigned n = 0; n < METER_OPS; n++) {
		meter_op(m, n, &op);
		if (meter_name(n) && op.requests)
			sample(t, name, "op", meter_name(n), op.requests);
	}
}

static void add_durations(GString *t, const struct meter *m)
{
	const char *name = "lacunafs_request_duration_seconds";
	family(t, name, "histogram", "seconds",
	       "Time from the arrival of a request to its reply, by operation.");
	for (unsigned n = 0; n < METER_OPS; n++) {
		struct meter_op op;
		uint64_t count = 0, us = 1;
		meter_op(m, n, &op);
		for (unsigned k = 0; k <= METER_BUCKETS; k++)
			count += op.buckets[k];
		if (!meter_name(n) || !count)
			continue;
		count = 0;
		for (unsigned k = 0; k <= METER_BUCKETS; k++) {
			count += op.buckets[k];
			us *= 4;
			g_string_append_printf(t, "%s_bucket{op=\"%s\",le=\"", name, meter_name(n));
			if (k < METER_BUCKETS)
				append_seconds(t, (double)us / 1e6);
			else
				g_string_append(t, "+Inf");
			g_string_append_printf(t, "\"} %" G_GUINT64_FORMAT "\n", count);
		}
		g_string_append_printf(t, "%s_count{op=\"%s\"} %" G_GUINT64_FORMAT "\n", name,
		                       meter_name(n), count);
		g_string_append_printf(t, "%s_sum{op=\"%s\"} ", name, meter_name(n));
		append_seconds(t, (double)op.ns / 1e9);
		g_string_append_c(t, '\n');
	}
}

static void add_errors(GString *t, const struct meter *m)
{
	const char *name = "lacunafs_request_errors";
	family(t, name, "counter", NULL,
	       "Requests that were answered with an error; ENOENT, ENODATA and ENOSYS are usual.");
	for (unsigned n = 0; n < METER_ERRORS; n++) {
		uint64_t count = meter_errors(m, n);
		const char *text = n ? strerrorname_np((int)n) : "other";
		if (count || n == EIO) /* the one to watch: from the start */
			sample(t, name, "errno", text ? text : "other", count);
	}
}

static void add_reads(GString *t, struct server *s)
{
	uint64_t misses = __atomic_load_n(&s->counters.read_misses, __ATOMIC_RELAXED);
	struct meter_op op;
	meter_op(s->meter, FUSE_READ, &op);
	family(t, "lacunafs_reads", "counter", NULL,
	       "Reads that found their data cached, and those that did not.");
	sample(t, "lacunafs_reads", "result", "hit", op.requests - MIN(misses, op.requests));
	sample(t, "lacunafs_reads", "result", "miss", misses);
	counter(t, "lacunafs_served_bytes", "bytes", "Bytes read by processes, through the daemon.",
	        meter_bytes_read(s->meter));
	counter(t, "lacunafs_written_bytes", "bytes",
	        "Bytes written by processes, through the daemon.", meter_bytes_written(s->meter));
}

static void add_source(GString *t, const struct fill_counters *f, const struct lister_counters *l)
{
	counter(t, "lacunafs_source_bytes", "bytes", "Bytes of file data fetched from the source.",
	        f->bytes_fetched);
	family(t, "lacunafs_source_requests", "counter", NULL, "Requests to the source.");
	sample(t, "lacunafs_source_requests", "kind", "data", f->requests);
	sample(t, "lacunafs_source_requests", "kind", "listing", l->listings);
	sample(t, "lacunafs_source_requests", "kind", "attributes", l->attributes);
	family(t, "lacunafs_source_errors", "counter", NULL,
	       "Requests to the source that failed after all retries.");
	sample(t, "lacunafs_source_errors", "kind", "data", f->errors);
	sample(t, "lacunafs_source_errors", "kind", "listing", l->errors);
	gauge(t, "lacunafs_source_up", NULL, "1: the last request reached the source.",
	      !l->source_down);
	counter(t, "lacunafs_listings_unchanged", NULL,
	        "Listings that the source confirmed as unchanged.", l->listings_unchanged);
}

/* One set of samples per mirror; a single source is number 1. */
struct sources {
	GString *text;
	unsigned number;
	bool up; /* else: failures */
};

static void add_failures(struct sources *o, const struct source *source)
{
	for (unsigned code = 0; code < FETCH_ERRORS; code++)
		if (fetch_error_class(code))
			g_string_append_printf(o->text,
			                       "lacunafs_source_failures_total{mirror=\"%u\","
			                       "class=\"%s\"} %" G_GUINT64_FORMAT "\n",
			                       o->number, fetch_error_class(code),
			                       source_failures(source, code));
}

static void add_mirror(const struct mirror_info *m, void *user)
{
	struct sources *o = user;
	o->number++;
	if (o->up)
		g_string_append_printf(o->text, "lacunafs_mirror_up{mirror=\"%u\"} %d\n", o->number,
		                       !m->failed);
	else
		add_failures(o, m->source);
}

static void add_mirrors(GString *t, struct server *s)
{
	struct sources failures = {.text = t}, up = {.text = t, .up = true};
	family(t, "lacunafs_source_failures", "counter", NULL,
	       "Requests that failed at a source, before retries and other mirrors.");
	if (s->mirrors)
		mirrors_foreach(s->mirrors, add_mirror, &failures);
	else
		add_failures(&(struct sources){.text = t, .number = 1}, s->source);
	if (!s->mirrors)
		return;
	family(t, "lacunafs_mirror_up", "gauge", NULL, "1: the mirror has not failed.");
	mirrors_foreach(s->mirrors, add_mirror, &up);
}

static void add_fills(GString *t, const struct fill_counters *f, const struct lister_counters *l)
{
	family(t, "lacunafs_chunks", "counter", NULL, "Chunks that became present.");
	sample(t, "lacunafs_chunks", "how", "fetched", f->chunks_fetched);
	sample(t, "lacunafs_chunks", "how", "verified", f->chunks_verified);
	gauge(t, "lacunafs_transfers", NULL, "Transfers of file data under way.", f->transfers);
	gauge(t, "lacunafs_waiting", NULL, "Requests that wait for file data.", f->waiters);
	family(t, "lacunafs_waits", "counter", NULL, "Requests that waited for the source.");
	sample(t, "lacunafs_waits", "kind", "data", f->waits);
	sample(t, "lacunafs_waits", "kind", "listing", l->waits);
	family(t, "lacunafs_wait_timeouts", "counter", NULL, "Waits that reached wait_timeout.");
	sample(t, "lacunafs_wait_timeouts", "kind", "data", f->timeouts);
	sample(t, "lacunafs_wait_timeouts", "kind", "listing", l->timeouts);
}

static void add_store(GString *t, struct server *s)
{
	uint64_t free_bytes = 0, total_bytes = 0;
	store_usage(s->store, &free_bytes, &total_bytes);
	counter(t, "lacunafs_evicted_files", NULL, "Files whose cached data was dropped.",
	        __atomic_load_n(&s->counters.evicted_files, __ATOMIC_RELAXED));
	counter(t, "lacunafs_evicted_bytes", "bytes", "Bytes of cached data dropped.",
	        __atomic_load_n(&s->counters.evicted_bytes, __ATOMIC_RELAXED));
	gauge(t, "lacunafs_store_free_bytes", "bytes",
	      "Free bytes of the file system of the store.", free_bytes);
	gauge(t, "lacunafs_store_size_bytes", "bytes", "Size of the file system of the store.",
	      total_bytes);
	gauge(t, "lacunafs_store_failed", NULL, "1: a write to the store's disk failed.",
	      store_failed(s->store));
	gauge(t, "lacunafs_store_set_aside", NULL, "Files that may be damaged and were set aside.",
	      store_set_aside(s->store));
}

static void add_daemon(GString *t, struct server *s)
{
	uint64_t waiting, lost;
	log_state(&waiting, &lost);
	family(t, "lacunafs_build", "info", NULL, "The program.");
	g_string_append(t, "lacunafs_build_info{version=\"" LACUNAFS_VERSION "\"} 1\n");
	family(t, "lacunafs_uptime_seconds", "gauge", "seconds", "Time since the mount.");
	g_string_append(t, "lacunafs_uptime_seconds ");
	append_seconds(t, (double)MAX(clock_realtime() - s->started_ns, 0) / 1e9);
	g_string_append_c(t, '\n');
	counter(t, "lacunafs_restarts", NULL, "Restarts of the worker since the mount.", 0);
	gauge(t, "lacunafs_open_files", NULL, "Open files of processes.",
	      handle_table_count(s->handles));
	gauge(t, "lacunafs_inodes", NULL, "Inodes that the kernel knows.", inode_count(s->inodes));
	counter(t, "lacunafs_log_lost_lines", NULL, "Lines of the log that could not be written.",
	        lost);
}

GString *metrics_text(struct server *s)
{
	struct fill_counters fill = {0};
	struct lister_counters lister = {0};
	GString *t = g_string_sized_new(16384);
	fill_counters(s->fill, &fill);
	lister_counters(s->lister, &lister);
	add_daemon(t, s);
	add_requests(t, s->meter);
	add_durations(t, s->meter);
	add_errors(t, s->meter);
	add_reads(t, s);
	add_source(t, &fill, &lister);
	add_mirrors(t, s);
	add_fills(t, &fill, &lister);
	add_store(t, s);
	g_string_append(t, "# EOF\n");
	return t;
}
