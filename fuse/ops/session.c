/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/session.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fuse/base/area.h"
#include "fuse/events/registry.h"
#include "fuse/inode/backing.h"
#include "fuse/ops/meter.h"
#include "fuse/ops/relisting.h"
#include "fuse/ops/replay.h"
#include "fuse/ops/resent.h"

#define BUFFER_SIZE ((1u << 20) + 8192) /* max_write and a header */
#define SPIN_NS 100000
#define SPIN_FROM 32
#define SPIN_LATE 2
#define SPIN_PREEMPTED 50000 /* ns: another thread had the processor in between */
#define SPIN_PAUSE 3000000   /* ns */
#define LONG_NS INT64_C(50000000)
#define THREADS_MAX 128
#define KEEP_BACKING 32768 /* ids: about 1.5 KiB each of kernel memory, inode included */

/* Spinning pays while nearly all requests come within SPIN_NS of the one before. It does not where
 * only some do (a build: it took 2.5 % of two busy processors), nor, for a while, when another
 * thread got this processor meanwhile. */
struct spin {
	int64_t not_before; /* ns */
	int score;          /* requests in time, less SPIN_LATE for each late one */
};

struct session {
	struct server *server;
	unsigned threads;
	pthread_t thread[THREADS_MAX];
	unsigned started; /* of these; under lock */
	unsigned idle;    /* atomic: of these, wait for the device */
	/* When the thread that has the device began to work, 0 = it does not; atomic. A thread that
	 * puts 0 there has the device from then on. */
	int64_t busy_ns;
	uint64_t taken, seen; /* requests, atomic; as of the last look */
	bool looking;         /* atomic: a look is due */
	struct alarm look;
	int stop_fd, ended_fd;
	sem_t at_device;
	struct spin spin; /* of the thread at the device, as the next */
	bool catching_up; /* after a takeover: with what is sent again */
	struct mutex lock;
	struct condition changed;
	bool agreed, connected, ended;
};

void session_connected(struct server *s, const char *passthrough_unusable)
{
	struct session *se = s->loop;
	s->backing = backing_new(s->area, fuse_session_fd(s->session), KEEP_BACKING,
	                         passthrough_unusable);
	__atomic_store_n(&se->agreed, true, __ATOMIC_RELEASE);
}

/* The answer to INIT has been written: the kernel knows the agreed features. */
static void session_answered(struct session *se)
{
	if (se->server->backing)
		backing_probe(se->server->backing);
	mutex_lock(&se->lock);
	se->connected = true;
	condition_broadcast(&se->changed);
	mutex_unlock(&se->lock);
}

bool session_wait_connected(struct session *se)
{
	mutex_lock(&se->lock);
	while (!se->connected && !se->ended)
		condition_wait(&se->changed, &se->lock);
	bool connected = se->connected;
	mutex_unlock(&se->lock);
	return connected;
}

static void session_end(struct session *se)
{
	uint64_t one = 1;
	mutex_lock(&se->lock);
	se->ended = true;
	condition_broadcast(&se->changed);
	mutex_unlock(&se->lock);
	fuse_session_exit(se->server->session);
	if (write(se->ended_fd, &one, sizeof(one)) < 0 || write(se->stop_fd, &one, sizeof(one)) < 0)
		g_warning("cannot end the session: %s", g_strerror(errno));
}

/* Operations that may wait for the local disk or move much data. */
static bool takes_long(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_GETATTR:
	case FUSE_OPEN:
	case FUSE_RELEASE:
	case FUSE_INTERRUPT:
	case FUSE_GETXATTR:
		return false;
	default:
		return true;
	}
}

static bool spin_on(struct spin *spin, int64_t idle_since, int64_t *looked)
{
	int64_t now = clock_now();
	if (now - *looked > SPIN_PREEMPTED)
		spin->not_before = now + SPIN_PAUSE;
	*looked = now;
	return spin->score >= SPIN_FROM && now >= spin->not_before && now - idle_since < SPIN_NS;
}

/* Reads the next request, or returns 0 when the session has ended. One thread at a time. */
static size_t request_next(struct session *se, void *mem)
{
	struct fuse_session *fuse = se->server->session;
	int device = fuse_session_fd(fuse);
	struct pollfd fds[] = {{.fd = device, .events = POLLIN},
	                       {.fd = se->stop_fd, .events = POLLIN}};
	int64_t idle_since = 0, looked = 0;
	while (!fuse_session_exited(fuse)) {
		ssize_t n = read(device, mem, BUFFER_SIZE);
		if (se->catching_up && (n > 0 || errno == EAGAIN) &&
		    !resent_look(se->server, n > 0 ? mem : NULL, &se->catching_up))
			continue;
		if (n > 0) {
			if (idle_since == 0 || clock_now() - idle_since < SPIN_NS)
				se->spin.score = MIN(se->spin.score + 1, 2 * SPIN_FROM);
			else
				se->spin.score = MAX(se->spin.score - SPIN_LATE, 0);
			return n;
		}
		if (n == 0 || errno == ENODEV)
			break;
		if (errno == EINTR || errno == ENOENT)
			continue; /* ENOENT: interrupted before it could be read */
		if (errno != EAGAIN) {
			g_critical("/dev/fuse: %s", g_strerror(errno));
			break;
		}
		if (idle_since == 0)
			idle_since = looked = clock_now();
		else if (registry_any(se->server->handlers) || /* handlers need the processor */
		         !spin_on(&se->spin, idle_since, &looked))
			poll(fds, G_N_ELEMENTS(fds), -1);
	}
	session_end(se);
	return 0;
}

static void device_take(struct session *se)
{
	__atomic_add_fetch(&se->idle, 1, __ATOMIC_SEQ_CST);
	while (sem_wait(&se->at_device) != 0)
		; /* EINTR */
	__atomic_sub_fetch(&se->idle, 1, __ATOMIC_SEQ_CST);
}

/* Once in a while as long as there is work: an alarm for each request costs more. */
static void look_soon(struct session *se, int64_t now)
{
	__atomic_add_fetch(&se->taken, 1, __ATOMIC_SEQ_CST);
	if (!se->catching_up)
		se->server->area->fresh++;
	if (!__atomic_load_n(&se->looking, __ATOMIC_SEQ_CST) &&
	    !__atomic_exchange_n(&se->looking, true, __ATOMIC_SEQ_CST))
		alarm_set(se->server->clock, &se->look, now + LONG_NS);
}

/* `away`: another thread may take the device meanwhile. */
static int64_t work_begin(struct session *se, bool away, int64_t now)
{
	if (away)
		sem_post(&se->at_device);
	else
		__atomic_store_n(&se->busy_ns, now, __ATOMIC_SEQ_CST);
	look_soon(se, now);
	return away ? 0 : now;
}

/* false: the work took long, and another thread has the device. */
static bool work_end(struct session *se, int64_t since)
{
	return since && __atomic_compare_exchange_n(&se->busy_ns, &since, 0, false,
	                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void *session_run(void *arg);

static bool thread_start(struct session *se)
{
	mutex_lock(&se->lock);
	bool ok = se->started < THREADS_MAX &&
	          pthread_create(&se->thread[se->started], NULL, session_run, se) == 0;
	se->started += ok;
	mutex_unlock(&se->lock);
	return ok;
}

/* No thread has the device, or is about to take it. */
static bool unattended(struct session *se)
{
	int free = 0;
	sem_getvalue(&se->at_device, &free);
	return free > 0 && __atomic_load_n(&se->idle, __ATOMIC_SEQ_CST) == 0;
}

/* A thread that could not be started is tried again. */
static void session_look(struct alarm *alarm)
{
	struct session *se = (struct session *)((char *)alarm - offsetof(struct session, look));
	int64_t now = clock_now(), since = __atomic_load_n(&se->busy_ns, __ATOMIC_SEQ_CST);
	uint64_t taken = __atomic_load_n(&se->taken, __ATOMIC_SEQ_CST);
	bool stuck = taken == se->seen;
	if (since && now - since >= LONG_NS &&
	    (__atomic_load_n(&se->idle, __ATOMIC_SEQ_CST) > 0 || thread_start(se)) &&
	    work_end(se, since))
		sem_post(&se->at_device);
	else if (!since && stuck && unattended(se))
		thread_start(se);
	se->seen = taken;
	if (stuck && !__atomic_load_n(&se->busy_ns, __ATOMIC_SEQ_CST) && !unattended(se)) {
		__atomic_store_n(&se->looking, false, __ATOMIC_SEQ_CST);
		/* a request taken meanwhile saw that a look is due */
		if (__atomic_load_n(&se->taken, __ATOMIC_SEQ_CST) == taken ||
		    __atomic_exchange_n(&se->looking, true, __ATOMIC_SEQ_CST))
			return;
	}
	alarm_set(se->server->clock, &se->look, now + LONG_NS);
}

/* One thread waits at the device and serves quick requests itself; before a long one it lets the
 * next thread wait there, if there are several. */
static void *session_run(void *arg)
{
	struct session *se = arg;
	struct fuse_buf buf = {.mem = g_malloc(BUFFER_SIZE)};
	pthread_setname_np(pthread_self(), "fuse");
	/* a umask of its own, which becomes that of the creating caller (tree_make.c) */
	if (unshare(CLONE_FS) < 0)
		g_error("unshare: %s", g_strerror(errno));
	device_take(se);
	while ((buf.size = request_next(se, buf.mem)) > 0) {
		bool away =
		        se->threads > 1 && takes_long(((struct fuse_in_header *)buf.mem)->opcode);
		bool first = !__atomic_load_n(&se->agreed, __ATOMIC_ACQUIRE);
		if (first)
			resent_note_init(se->server, &buf);
		int64_t now = clock_now(), since = work_begin(se, away, now);
		meter_begin(se->server->meter, ((struct fuse_in_header *)buf.mem)->opcode, now);
		relisting_process(se->server, &buf);
		if (first)
			session_answered(se);
		meter_switch((struct meter_hand){0});
		if (!work_end(se, since))
			device_take(se);
	}
	sem_post(&se->at_device);
	g_free(buf.mem);
	return NULL;
}

struct session *session_start(struct server *s)
{
	struct session *se = g_new0(struct session, 1);
	se->server = s;
	sem_init(&se->at_device, 0, 1);
	s->loop = se;
	se->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	se->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mutex_init(&se->lock, RANK_SESSION);
	condition_init(&se->changed);
	int device = fuse_session_fd(s->session);
	fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
	se->threads = s->settings->threads;
	if (se->threads == 0)
		se->threads = CLAMP(g_get_num_processors() / 2, 1, 4);
	se->look.ring = session_look;
	if (s->resumed) {
		resent_init(s);
		session_answered(se);
		se->catching_up = resent_begin(s);
	}
	for (unsigned n = 0; n < se->threads; n++)
		if (!thread_start(se))
			g_error("cannot start a thread");
	return se;
}

int session_ended_fd(const struct session *se)
{
	return se->ended_fd;
}

/* A look may start one more while the others end. */
static void threads_join(struct session *se, unsigned *joined)
{
	for (;;) {
		mutex_lock(&se->lock);
		bool more = *joined < se->started;
		mutex_unlock(&se->lock);
		if (!more)
			return;
		pthread_join(se->thread[(*joined)++], NULL);
	}
}

void session_stop(struct session *se)
{
	unsigned joined = 0;
	session_end(se);
	threads_join(se, &joined);
	alarm_stop(se->server->clock, &se->look);
	threads_join(se, &joined);
	close(se->stop_fd);
	close(se->ended_fd);
	sem_destroy(&se->at_device);
	condition_destroy(&se->changed);
	mutex_destroy(&se->lock);
	g_free(se);
}
