/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/notify.h"
#define FUSE_USE_VERSION 318
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <glib.h>
#include <linux/close_range.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fuse/base/area.h"
#include "fuse/inode/notices.h"

/* Lanes that may be stuck at a time before others have to wait for them. */
#define THREADS_MAX 64

/* The notices queued for one inode. */
struct lane {
	uint64_t nodeid;
	GQueue notices; /* of struct notice, borrowed; a thread has the first one, or is about to */
};

struct notifier {
	struct fuse_session *session;
	struct area *area; /* has the notices, as the next; borrowed */
	struct arena *arena;
	int device; /* owned: a second one of the session's; -1: there is none */
	pthread_t threads[THREADS_MAX];
	unsigned started, idle;
	struct mutex lock;
	struct condition wake;
	GHashTable *lanes; /* uint64_t nodeid → struct lane, owned; none is empty */
	GQueue ready;      /* of struct lane, borrowed: no thread works on them */
	bool held;         /* the session does not know the kernel yet */
	uint64_t waiting;  /* atomic: notices in lanes */
	bool stop;
};

static void lane_free(gpointer p)
{
	struct lane *lane = p;
	g_queue_clear(&lane->notices);
	g_free(lane);
}

/* ENOENT is as good: the kernel does not know the inode. */
static void notice_send(struct notifier *n, const struct notice *e)
{
	if (e->name[0])
		fuse_lowlevel_notify_inval_entry(n->session, e->nodeid, e->name, strlen(e->name));
	else
		fuse_lowlevel_notify_inval_inode(n->session, e->nodeid, 0, 0);
}

/* A thread that is stuck in the kernel outlives a killed daemon, and its open files stay open: that
 * must be the second device alone. The kernel closes the first one, and aborts all pending
 * requests, which frees the thread. */
static void descriptors_leave_locked(struct notifier *n) REQUIRES(n->lock)
{
	unsigned fd = (unsigned)fuse_session_fd(n->session), top = MAX(fd, (unsigned)n->device);
	/* files of the store are opened later, and must have no second descriptor even for a
	 * moment: leases would see it (lease.h) */
	if (n->stop || n->device < 0 || close_range(top + 1, ~0U, CLOSE_RANGE_UNSHARE) < 0)
		return;
	syscall(SYS_dup3, n->device, fd, O_CLOEXEC); /* raw: this table is the thread's own */
	if (fd > 0)
		close_range(0, fd - 1, 0);
	if (fd < top)
		close_range(fd + 1, top, 0);
}

static void *notifier_run(void *arg)
{
	struct notifier *n = arg;
	pthread_setname_np(pthread_self(), "notify");
	mutex_lock(&n->lock);
	descriptors_leave_locked(n);
	while (!n->stop) {
		struct lane *lane = n->held ? NULL : g_queue_pop_head(&n->ready);
		if (!lane) {
			n->idle++;
			condition_wait(&n->wake, &n->lock);
			n->idle--;
			continue;
		}
		struct notice *e = g_queue_pop_head(&lane->notices);
		__atomic_sub_fetch(&n->waiting, 1, __ATOMIC_RELAXED);
		mutex_unlock(&n->lock);
		notice_send(n, e);
		mutex_lock(&n->lock);
		notice_unlink_locked(n->area, e);
		notice_free(n->arena, e);
		if (lane->notices.length > 0)
			g_queue_push_tail(&n->ready, lane);
		else
			g_hash_table_remove(n->lanes, &lane->nodeid);
	}
	mutex_unlock(&n->lock);
	return NULL;
}

static void thread_start_locked(struct notifier *n) REQUIRES(n->lock)
{
	int err = pthread_create(&n->threads[n->started], NULL, notifier_run, n);
	if (err == 0)
		n->started++;
	else if (n->started == 0)
		g_error("cannot start a thread: %s", g_strerror(err));
}

/* Takes over `fd`. */
static int device_clone(int fd, struct fuse_session *se)
{
	uint32_t first = (uint32_t)fuse_session_fd(se);
	if (fd < 0 || ioctl(fd, FUSE_DEV_IOC_CLONE, &first) == 0)
		return fd;
	g_message("cannot clone the descriptor of /dev/fuse: %s", g_strerror(errno));
	close(fd);
	return -1;
}

static struct lane *lane_locked(struct notifier *n, uint64_t nodeid) REQUIRES(n->lock)
{
	struct lane *lane = g_hash_table_lookup(n->lanes, &nodeid);
	if (lane)
		return lane;
	lane = g_new0(struct lane, 1);
	lane->nodeid = nodeid;
	g_queue_init(&lane->notices);
	g_hash_table_insert(n->lanes, &lane->nodeid, lane);
	g_queue_push_tail(&n->ready, lane);
	return lane;
}

/* What the worker before this one had not sent; the oldest was linked in first. */
static void enqueue_left_locked(struct notifier *n) REQUIRES(n->lock)
{
	for (struct notice *e = n->area->notices; e; e = e->next) {
		g_queue_push_head(&lane_locked(n, e->nodeid)->notices, e);
		__atomic_add_fetch(&n->waiting, 1, __ATOMIC_RELAXED);
	}
}

struct notifier *notifier_new(struct fuse_session *se, struct area *area, struct arena *arena,
                              int device, bool cloned)
{
	struct notifier *n = g_new0(struct notifier, 1);
	n->session = se;
	n->area = area;
	n->arena = arena;
	n->device = cloned ? device : device_clone(device, se);
	mutex_init(&n->lock, RANK_NOTIFIER);
	condition_init(&n->wake);
	n->lanes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, lane_free);
	g_queue_init(&n->ready);
	mutex_lock(&n->lock);
	thread_start_locked(n);
	enqueue_left_locked(n);
	n->held = cloned;
	mutex_unlock(&n->lock);
	return n;
}

void notifier_begin(struct notifier *n)
{
	mutex_lock(&n->lock);
	n->held = false;
	for (unsigned k = n->started; k < MIN(n->ready.length, THREADS_MAX); k++)
		thread_start_locked(n);
	condition_broadcast(&n->wake);
	mutex_unlock(&n->lock);
}

void notifier_leave(struct notifier *n)
{
	mutex_lock(&n->lock);
	n->stop = true;
	condition_broadcast(&n->wake);
	int device = n->device;
	n->device = -1;
	mutex_unlock(&n->lock);
	if (device >= 0)
		close(device);
}

void notifier_stop(struct notifier *n)
{
	notifier_leave(n);
	for (unsigned k = 0; k < n->started; k++)
		pthread_join(n->threads[k], NULL);
}

void notifier_free(struct notifier *n)
{
	g_queue_clear(&n->ready);
	g_hash_table_unref(n->lanes);
	condition_destroy(&n->wake);
	mutex_destroy(&n->lock);
	g_free(n);
}

static void enqueue(struct notifier *n, uint64_t nodeid, const char *name)
{
	if (!n)
		return;
	struct notice *e = notice_new(n->arena, nodeid, name);
	mutex_lock(&n->lock);
	if (n->stop) {
		notice_free(n->arena, e);
	} else {
		notice_link_locked(n->area, e);
		g_queue_push_tail(&lane_locked(n, nodeid)->notices, e);
		__atomic_add_fetch(&n->waiting, 1, __ATOMIC_RELAXED);
		if (n->ready.length > n->idle && n->started < THREADS_MAX)
			thread_start_locked(n);
		condition_signal(&n->wake);
	}
	mutex_unlock(&n->lock);
}

void notifier_entry(struct notifier *n, uint64_t parent, const char *name)
{
	enqueue(n, parent, name);
}

void notifier_inode(struct notifier *n, uint64_t nodeid, bool pages)
{
	if (!n)
		return;
	fuse_lowlevel_notify_inval_inode(n->session, nodeid, -1, 0);
	if (pages)
		enqueue(n, nodeid, "");
}

void notifier_inode_now(struct notifier *n, uint64_t nodeid)
{
	if (n)
		fuse_lowlevel_notify_inval_inode(n->session, nodeid, 0, 0);
}

bool notifier_ask(struct notifier *n, uint64_t nodeid, bool all)
{
	return !n ||
	       fuse_lowlevel_notify_inval_inode(n->session, nodeid, all ? 0 : -1, 0) != -ENOENT;
}

bool notifier_full(struct notifier *n)
{
	return n && __atomic_load_n(&n->waiting, __ATOMIC_RELAXED) >= NOTICES_MAX;
}
