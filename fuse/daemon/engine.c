/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/engine.h"
#include <poll.h>
#include "fetch/source/source_open.h"
#include "fetch/store/disk/pins.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/file/flusher.h"
#include "fetch/store/opening.h"
#include "fuse/base/arena.h"
#include "fuse/base/caller.h"
#include "fuse/daemon/deadman.h"
#include "fuse/daemon/helper.h"
#include "fuse/daemon/rlimits.h"
#include "fuse/events/refusals.h"
#include "fuse/events/registry.h"
#include "fuse/events/trace.h"
#include "fuse/inode/adoption.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/doubt.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/mishap.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/places.h"
#include "fuse/inode/shortage.h"
#include "fuse/inode/trim.h"
#include "fuse/inode/ways.h"
#include "fuse/keeper/keeping.h"
#include "fuse/ops/meter.h"

#define DISK_THREADS 4
#define LEAVE_SECONDS 60

/* An unmounted daemon still writes back: it is waited for. A daemon that has not learned of its
 * unmount yet has a second to notice. */
static struct store *store_take_over(const char *path, const struct store_settings *ss, int signals,
                                     GError **error)
{
	const int64_t begun = clock_now(), second = INT64_C(1000000000);
	for (;;) {
		g_autoptr(GError) cause = NULL;
		struct store *store = store_open(path, ss, &cause);
		struct pollfd p = {.fd = signals, .events = POLLIN};
		int64_t waited = clock_now() - begun;
		bool leaves = g_error_matches(cause, LOCAL_ERROR, EAGAIN);
		bool soon = leaves || g_error_matches(cause, LOCAL_ERROR, EBUSY);
		if (store || !soon || waited > (leaves ? LEAVE_SECONDS : 1) * second ||
		    poll(&p, 1, 20) > 0) {
			if (cause)
				g_propagate_error(error, g_steal_pointer(&cause));
			return store;
		}
	}
}

static void inode_gone(struct server *s, uint64_t ino)
{
	registry_forget(s->handlers, ino);
	store_unpin(s->store, ino);
}

static bool content_asked(void *user, struct content *c)
{
	return registry_want(((struct server *)user)->handlers, content_owner(c), false);
}

bool engine_start(struct server *s, int signals, GError **error)
{
	const struct settings *settings = s->settings;
	g_autoptr(GPtrArray) mirrors = g_ptr_array_new();
	for (guint n = 0; n < settings->mirror_names->len; n++)
		g_ptr_array_add(mirrors, settings->mirror_names->pdata[n]);
	g_ptr_array_add(mirrors, NULL);
	struct store_settings ss = {
	        .source = settings->source,
	        .mirrors = (const char *const *)mirrors->pdata,
	        .chunk_shift = settings->chunk_shift,
	        .end_epoch = settings->end_epoch && !s->resumed,
	        .pid = s->keeping->keeper,
	        .lock = MAX(s->keeping->fds[KEPT_LOCK], 0),
	};
	g_autoptr(GPtrArray) urls = g_ptr_array_new();
	g_ptr_array_add(urls, settings->url);
	for (guint n = 0; n < settings->mirrors->len; n++)
		g_ptr_array_add(urls, settings->mirrors->pdata[n]);
	g_ptr_array_add(urls, NULL);
	struct source_options so = settings->source_options;
	so.secret_open = helper_secret;
	g_autofree char *index = g_build_filename(settings->store, "state", "index", NULL);
	so.index_folder = index;
	struct source *source =
	        source_open_mirrors((const char *const *)urls->pdata, &so, &s->mirrors, error);
	if (!source)
		return false;
	caller_begin();
	s->handlers = registry_new(s);
	s->inode_gone = inode_gone;
	s->failed = g_new0(struct refusals, 1);
	s->meter = meter_new();
	s->tracers = tracers_new();
	s->source = interceptor_new(source, &registry_interceptor, s->handlers);
	s->store = store_take_over(settings->store, &ss, signals, error);
	if (!s->store)
		return false;
	store_space_limit(s->store, &(struct space_limits){
	                                    .quota = settings->quota,
	                                    .min_free = settings->min_free.bytes,
	                                    .percent = settings->min_free.percent,
	                                    .automatic = settings->min_free.automatic,
	                            });
	mutex_init(&s->failing, RANK_FAILING);
	rwlock_init(&s->names, RANK_NAMES);
	s->ways = ways_new();
	rwlock_init(&s->sealing, RANK_SEALING);
	mutex_init(&s->sealers, RANK_SEALERS);
	s->disk = pool_new("disk", DISK_THREADS);
	s->clock = alarm_clock_new();
	struct lister_options lo = {
	        .wait_ms = settings->wait_ms,
	        .ttl_ms = settings->listing_ttl_ms,
	        .changed = directory_changed,
	        .vanished = directory_vanished,
	        .overtaxed = kernel_overtaxed,
	        .known = directory_known,
	        .local_path = directory_local_path,
	        .placed = place_note,
	        .place = place_of,
	        .user = s,
	};
	s->lister = lister_new(s->store, s->source, s->disk, s->clock, &lo);
	struct fill_options fo = {
	        .wait_ms = settings->wait_ms,
	        .prefetch_bytes = settings->prefetch_bytes,
	        .changed = content_changed,
	        .rebound = content_rebound,
	        .directory = content_is_directory,
	        .completed = content_completed,
	        .local_path = content_path_now,
	        .released = content_released,
	        .asked = content_asked,
	        .user = s,
	};
	s->fill = fill_new(s->store, s->source, s->disk, s->clock, &fo);
	s->waitqueue = waitqueue_new(s->clock);
	s->doubts = doubts_new(s);
	s->shortage = shortage_new();
	s->flusher = flusher_new(s->store, s->disk, s->clock);
	if (s->settings->inode32) {
		g_autofree char *path =
		        g_build_filename(s->settings->store, "state", "inode32", NULL);
		s->numbers = numbers_new(path);
	}
	s->arena = arena_new(s->area);
	s->inodes = inode_table_new(s->area, s->numbers);
	s->trim = trim_new(s->clock, s->disk);
	s->handles = handle_table_new(s->area, rlimits_descriptors());
	s->mishaps = mishaps_new();
	return true;
}

void engine_cut(struct server *s)
{
	if (!s->deadman && s->source)
		s->deadman = deadman_arm(s);
	if (s->fill)
		fill_stop(s->fill);
	if (s->lister)
		lister_stop(s->lister);
	if (s->waitqueue)
		waitqueue_close(s->waitqueue);
	if (s->source)
		source_close(s->source);
	s->source = NULL;
	deadman_disarm(g_steal_pointer(&s->deadman));
}

void engine_settle(struct server *s)
{
	if (s->flusher)
		flusher_stop(s->flusher);
	if (s->doubts)
		doubts_stop(s->doubts);
	if (s->trim)
		trim_stop(s->trim);
	if (s->disk)
		pool_free(s->disk);
	s->disk = NULL;
	g_clear_pointer(&s->flusher, flusher_free);
	g_clear_pointer(&s->doubts, doubts_free);
}

void engine_stop(struct server *s)
{
	engine_cut(s);
	engine_settle(s);
	if (s->handles)
		handle_table_free(s->handles, s);
	if (s->inodes)
		inode_table_free(s->inodes, s);
	trim_free(s->trim);
	numbers_free(s->numbers);
	if (s->fill)
		fill_free(s->fill);
	if (s->mishaps)
		mishaps_free(s->mishaps);
	if (s->lister)
		lister_free(s->lister);
	shortage_free(s->shortage);
	waitqueue_free(s->waitqueue);
	registry_free(s->handlers);
	g_free(s->failed);
	tracers_free(s->tracers);
	ways_free(s->ways);
	if (s->clock)
		alarm_clock_free(s->clock);
	if (s->notifier)
		notifier_free(s->notifier);
	meter_free(s->meter);
	if (s->arena)
		arena_free(s->arena);
	if (s->store && !s->served)
		store_drop(g_steal_pointer(&s->store));
	int err = s->store ? store_close(s->store) : 0;
	if (err)
		g_warning("the store could not be synced, the next mount will verify it: %s",
		          g_strerror(-err));
}
