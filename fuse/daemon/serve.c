/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/daemon/serve.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/source/source_open.h"
#include "fetch/store/file/flusher.h"
#include "fetch/store/opening.h"
#include "fuse/base/caller.h"
#include "fuse/control/control.h"
#include "fuse/daemon/deadman.h"
#include "fuse/daemon/mounting.h"
#include "fuse/daemon/rlimits.h"
#include "fuse/events/refusals.h"
#include "fuse/events/registry.h"
#include "fuse/events/trace.h"
#include "fuse/inode/adoption.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/exec_writes.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/inode/mishap.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/server.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/session.h"
#include "fuse/ops/vigil.h"

#define DISK_THREADS 4
#define LEAVE_SECONDS 60

struct root_wait {
	struct lister_wait wait;
	int answered; /* eventfd */
	int error;
};

static void root_listed(struct lister_wait *w, struct listing *listing, int error)
{
	struct root_wait *r = (struct root_wait *)w;
	uint64_t one = 1;
	int answered = r->answered;
	__atomic_store_n(&r->error, error, __ATOMIC_RELEASE);
	if (write(answered, &one, sizeof(one)) < 0)
		g_error("eventfd: %s", g_strerror(errno));
}

/* Until it is listed, we are told to stop, or whoever waits for the mount has gone (Ctrl-C). */
static int root_wait(struct server *s, struct root_wait *r, int signals, int ready_fd)
{
	struct pollfd fds[] = {
	        {.fd = r->answered, .events = POLLIN},
	        {.fd = signals, .events = POLLIN},
	        {.fd = ready_fd}, /* a pipe without a reader is POLLERR */
	};
	while (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno == EINTR)
		;
	if (!fds[0].revents && lister_cancel(s->lister, &r->wait))
		return EINTR;
	uint64_t answers; /* where it could not be cancelled it is being answered */
	if (read(r->answered, &answers, sizeof(answers)) < 0)
		g_error("eventfd: %s", g_strerror(errno));
	return __atomic_load_n(&r->error, __ATOMIC_ACQUIRE);
}

/* A wrong URL or a dead server is told at mount time, not by the first `ls`. */
static bool root_list(struct server *s, struct inode *root, int signals, int ready_fd,
                      GError **error)
{
	struct directory *d = inode_open_directory(s, root);
	struct root_wait r = {.wait.done = root_listed, .answered = eventfd(0, EFD_CLOEXEC)};
	struct listing *l = NULL;
	int err = -lister_want(d, &r.wait, &l);
	if (err == EINPROGRESS)
		err = root_wait(s, &r, signals, ready_fd);
	close(r.answered);
	if (l)
		listing_unref(l);
	if (err == 0)
		return true;
	g_autofree char *cause = directory_cause(d);
	const char *why = err == EINTR ? "interrupted before it answered"
	                  : cause      ? cause
	                               : g_strerror(err);
	/* of a URL the cause names it, or the one that it redirects to */
	bool named =
	        why == cause && (strstr(why, "://") || g_str_has_prefix(why, s->settings->source));
	g_set_error(error, LOCAL_ERROR, err, "%s%s%s", named ? "" : s->settings->source,
	            named ? "" : ": ", why);
	return false;
}

static struct inode *root_new(struct server *s)
{
	const struct source_options *o = &s->settings->source_options;
	struct listing_entry e = {
	        .ino = 1,
	        .mode = S_IFDIR | (o->dir_mode ? o->dir_mode : 0755),
	        .uid = o->uid,
	        .gid = o->gid,
	        .nlink = 1,
	        .mtime_ns = s->started_ns,
	};
	struct stat st;
	const char *source = s->settings->source;
	if (g_str_has_prefix(source, "dir:") && stat(source + 4, &st) == 0) {
		e.mode = st.st_mode;
		if (!o->own) {
			e.uid = st.st_uid;
			e.gid = st.st_gid;
		}
		e.nlink = st.st_nlink;
		e.mtime_ns = nanoseconds(st.st_mtim);
	}
	struct inode *root = inode_intern(s, NULL, "", &e, false);
	struct tree_node node;
	if (root && tree_look(s->store, "", &node) == 0) {
		inode_take(s, root, &node);
		tree_node_clear(&node);
	}
	return root;
}

/* A daemon that has been unmounted still writes back: it is waited for. One that nobody has told so
 * yet has a second to notice. */
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
}

static bool engine_start(struct server *s, int signals, GError **error)
{
	const struct settings *settings = s->settings;
	struct store_settings ss = {
	        .source = settings->source,
	        .chunk_shift = settings->chunk_shift,
	        .end_epoch = settings->end_epoch,
	};
	struct source *source = source_open(settings->url, &settings->source_options, error);
	if (!source)
		return false;
	caller_begin();
	s->handlers = registry_new(s);
	s->inode_gone = inode_gone;
	s->failed = g_new0(struct refusals, 1);
	s->tracers = tracers_new();
	s->source = interceptor_new(source, &registry_interceptor, s->handlers);
	s->xattrs = s->source->xattrs || !s->read_only;
	s->store = store_take_over(settings->store, &ss, signals, error);
	if (!s->store)
		return false;
	pthread_mutex_init(&s->failing, NULL);
	pthread_rwlock_init(&s->names, NULL);
	pthread_rwlockattr_t soon; /* writes that never end must not keep a seal away */
	pthread_rwlockattr_init(&soon);
	pthread_rwlockattr_setkind_np(&soon, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->sealing, &soon);
	pthread_rwlockattr_destroy(&soon);
	pthread_mutex_init(&s->sealers, NULL);
	s->disk = pool_new("disk", DISK_THREADS);
	s->clock = alarm_clock_new();
	struct lister_options lo = {
	        .wait_ms = settings->wait_ms,
	        .ttl_ms = settings->listing_ttl_ms,
	        .changed = directory_changed,
	        .vanished = directory_vanished,
	        .local_path = directory_local_path,
	        .user = s,
	};
	s->lister = lister_new(s->store, s->source, s->disk, s->clock, &lo);
	struct fill_options fo = {
	        .wait_ms = settings->wait_ms,
	        .prefetch_bytes = settings->prefetch_bytes,
	        .changed = content_changed,
	        .directory = content_is_directory,
	        .completed = content_completed,
	        .local_path = content_path_now,
	        .released = content_released,
	        .user = s,
	};
	s->fill = fill_new(s->store, s->source, s->disk, s->clock, &fo);
	s->waitqueue = waitqueue_new(s->clock);
	s->flusher = flusher_new(s->store, s->disk, s->clock);
	if (s->settings->inode32) {
		g_autofree char *path =
		        g_build_filename(s->settings->store, "state", "inode32", NULL);
		s->numbers = numbers_new(path);
	}
	s->inodes = inode_table_new(s->numbers);
	s->handles = handle_table_new(rlimits_descriptors());
	s->mishaps = mishaps_new();
	if (s->inodes)
		return true;
	g_set_error(error, LOCAL_ERROR, ENOMEM, "no memory for the inode table");
	return false;
}

/* Nothing is fetched any more, and whoever waited for it has been answered. */
static void engine_cut(struct server *s)
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

/* What the disk's threads had to do is done. Until then a job may submit another. */
static void engine_settle(struct server *s)
{
	if (s->flusher)
		flusher_stop(s->flusher);
	if (s->disk)
		pool_free(s->disk);
	s->disk = NULL;
	g_clear_pointer(&s->flusher, flusher_free);
}

/* In the order in which nothing points to what is gone. */
static void engine_stop(struct server *s)
{
	engine_cut(s);
	engine_settle(s);
	if (s->handles)
		handle_table_free(s->handles, s);
	if (s->inodes)
		inode_table_free(s->inodes, s);
	numbers_free(s->numbers);
	if (s->fill)
		fill_free(s->fill);
	if (s->mishaps)
		mishaps_free(s->mishaps);
	if (s->lister)
		lister_free(s->lister);
	waitqueue_free(s->waitqueue);
	registry_free(s->handlers);
	g_free(s->failed);
	tracers_free(s->tracers);
	if (s->clock)
		alarm_clock_free(s->clock);
	if (s->notifier)
		notifier_free(s->notifier);
	if (s->store && !s->served)
		store_drop(g_steal_pointer(&s->store));
	int err = s->store ? store_close(s->store) : 0;
	if (err)
		g_warning("the store could not be synced, the next mount will verify it: %s",
		          g_strerror(-err));
}

/* Until unmounted or told to stop. */
static void serve(struct server *s, int signals)
{
	struct pollfd fds[] = {
	        {.fd = signals, .events = POLLIN},
	        {.fd = session_ended_fd(s->loop), .events = POLLIN},
	};
	while (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents)
		g_message("stopping: caught a signal");
}

/* The notifier may be in the kernel, waiting there for a look-up that waits for us: as long as
 * it does, look-ups are answered. Replies go to the device by its number: before that is closed,
 * and given to the next file that somebody opens, nobody is left to reply. */
static void mounted_end(struct server *s)
{
	engine_cut(s);
	notifier_stop(s->notifier);
	session_stop(s->loop);
	engine_settle(s);
	vigil_free(s->vigil);
	if (s->backing)
		backing_free(g_steal_pointer(&s->backing));
	mounting_end(s);
}

static struct control *control_start(struct server *s, const struct stat *root, GError **error)
{
	dev_t device = s->device ? s->device : root->st_dev;
	return control_new(s, major(device), minor(device), error);
}

static bool mounted_run(struct server *s, int ready_fd, int signals, GError **error)
{
	s->notifier = notifier_new(s->session, s->second_fd);
	s->vigil = vigil_new(s->clock, parked_end_dying, parked_unref);
	session_start(s);
	struct stat st;
	if (!session_wait_connected(s->loop))
		g_set_error(error, LOCAL_ERROR, ENOTCONN, "the kernel did not accept the mount");
	else if (stat(s->settings->mountpoint, &st) < 0)
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", s->settings->mountpoint,
		            g_strerror(errno));
	else
		s->control = control_start(s, &st, error);
	bool ok = s->served = s->control != NULL;
	if (ok) {
		g_message("mounted %s at %s", s->settings->source, s->settings->mountpoint);
		/* Not before: while autofs mounts, it lets only the process group of the mounting
		 * past the mountpoint; all others wait for the mount that they would make. From
		 * here on nothing goes by the mountpoint's path. */
		if (!s->settings->foreground)
			setsid();
		if (ready_fd >= 0 && write(ready_fd, "", 1) < 0)
			g_debug("the ready descriptor has no reader");
		serve(s, signals);
	}
	store_leave(s->store);
	s->deadman = deadman_arm(s); /* a client may wait for the source */
	/* before it is waited for: its clients may wait for the source */
	fill_stop(s->fill);
	lister_stop(s->lister);
	source_stop(s->source);
	registry_hurry(s->handlers);
	g_clear_pointer(&s->control, control_free);
	mounted_end(s);
	return ok;
}

/* The last of `on` and `off` counts; `otherwise`: neither is there. */
static bool asked_for(const struct settings *settings, const char *on, const char *off,
                      bool otherwise)
{
	for (guint n = 0; settings->fuse_options && n < settings->fuse_options->len; n++) {
		const char *option = settings->fuse_options->pdata[n];
		if (strcmp(option, on) == 0 || strcmp(option, off) == 0)
			otherwise = strcmp(option, on) == 0;
	}
	return otherwise;
}

int server_run(const struct settings *settings, int ready_fd, GError **error)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* somebody opened what we have a lease on */
	rlimits_raise();
	int signals = signalfd(-1, &set, SFD_CLOEXEC);

	struct server s = {
	        .settings = settings,
	        .read_only = asked_for(settings, "ro", "rw", false),
	        .noatime = asked_for(settings, "noatime", "atime", false),
	        .started_ns = clock_realtime(),
	        .uid = getuid(),
	        .gid = getgid(),
	        .exec_writes = exec_writes_policy(settings->exec_writes),
	};
	bool ok = engine_start(&s, signals, error);
	if (ok && !s.read_only)
		store_reserve(s.store);
	struct inode *root = ok ? root_new(&s) : NULL;
	ok = ok && root_list(&s, root, signals, ready_fd, error) && mounting_prepare(&s, error) &&
	     mounting_do(&s, error);
	if (ok)
		ok = mounted_run(&s, ready_fd, signals, error);
	if (root)
		inode_put(&s, root);
	engine_stop(&s);
	if (s.session)
		fuse_session_destroy(s.session);
	close(signals);
	return ok ? 0 : 1;
}
