/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/session.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "fuse/backing.h"

#define BUFFER_SIZE ((1u << 20) + 8192) /* max_write, and room for the header */
#define KEEP_BACKING 32768 /* ids: about 1.5 KiB each of kernel memory, inode included */

struct session {
	struct server *server;
	unsigned threads;
	pthread_t *thread;
	int stop_fd, ended_fd;
	int spinning; /* atomic: one thread spins */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool agreed, connected, ended;
};

void session_connected(struct server *s, const char *passthrough_unusable)
{
	struct session *se = s->loop;
	s->backing = backing_new(fuse_session_fd(s->session), KEEP_BACKING, passthrough_unusable);
	__atomic_store_n(&se->agreed, true, __ATOMIC_RELEASE);
}

/* The answer to INIT has been written: the kernel knows what we agreed on. */
static void session_answered(struct session *se)
{
	if (se->server->backing)
		backing_probe(se->server->backing);
	pthread_mutex_lock(&se->lock);
	se->connected = true;
	pthread_cond_broadcast(&se->changed);
	pthread_mutex_unlock(&se->lock);
}

bool session_wait_connected(struct session *se)
{
	pthread_mutex_lock(&se->lock);
	while (!se->connected && !se->ended)
		pthread_cond_wait(&se->changed, &se->lock);
	bool connected = se->connected;
	pthread_mutex_unlock(&se->lock);
	return connected;
}

static void session_end(struct session *se)
{
	uint64_t one = 1;
	pthread_mutex_lock(&se->lock);
	se->ended = true;
	pthread_cond_broadcast(&se->changed);
	pthread_mutex_unlock(&se->lock);
	fuse_session_exit(se->server->session);
	if (write(se->ended_fd, &one, sizeof(one)) < 0 || write(se->stop_fd, &one, sizeof(one)) < 0)
		g_warning("cannot end the session: %s", g_strerror(errno));
}

static void *session_run(void *arg)
{
	struct session *se = arg;
	struct fuse_session *fuse = se->server->session;
	int device = fuse_session_fd(fuse);
	int64_t spin_ns = (int64_t)se->server->settings->spin_us * 1000;
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	/* Exclusive: one request wakes one thread. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct epoll_event stop = {.events = EPOLLIN};
	struct fuse_buf buf = {.mem = g_malloc(BUFFER_SIZE)};
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, device, &ev) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, se->stop_fd, &stop) < 0)
		g_error("cannot wait for requests: %s", g_strerror(errno));

	bool spinner = false;
	int64_t idle_since = 0;
	while (!fuse_session_exited(fuse)) {
		ssize_t n = read(device, buf.mem, BUFFER_SIZE);
		if (n > 0) {
			buf.size = n;
			bool first = !__atomic_load_n(&se->agreed, __ATOMIC_ACQUIRE);
			fuse_session_process_buf(fuse, &buf);
			if (first)
				session_answered(se);
			idle_since = 0;
			continue;
		}
		if (n == 0 || errno == ENODEV) {
			session_end(se);
			break;
		}
		if (errno == EINTR || errno == ENOENT)
			continue; /* ENOENT: interrupted before it could be read */
		if (errno != EAGAIN) {
			g_critical("/dev/fuse: %s", g_strerror(errno));
			session_end(se);
			break;
		}
		int64_t now = clock_now();
		if (idle_since == 0) {
			idle_since = now;
			spinner = spinner ||
			          (spin_ns > 0 &&
			           !__atomic_exchange_n(&se->spinning, 1, __ATOMIC_ACQUIRE));
		}
		if (spinner && now - idle_since < spin_ns)
			continue;
		if (spinner) {
			__atomic_store_n(&se->spinning, 0, __ATOMIC_RELEASE);
			spinner = false;
		}
		epoll_wait(epoll, &ev, 1, -1);
		idle_since = 0;
	}
	if (spinner)
		__atomic_store_n(&se->spinning, 0, __ATOMIC_RELEASE);
	close(epoll);
	g_free(buf.mem);
	return NULL;
}

struct session *session_start(struct server *s)
{
	struct session *se = g_new0(struct session, 1);
	se->server = s;
	s->loop = se;
	se->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	se->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&se->lock, NULL);
	pthread_cond_init(&se->changed, NULL);
	int device = fuse_session_fd(s->session);
	fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK);
	se->threads = s->settings->threads;
	if (se->threads == 0)
		se->threads = CLAMP(g_get_num_processors() / 2, 1, 4);
	se->thread = g_new(pthread_t, se->threads);
	for (unsigned n = 0; n < se->threads; n++)
		if (pthread_create(&se->thread[n], NULL, session_run, se) != 0)
			g_error("cannot start a thread");
	return se;
}

int session_ended_fd(const struct session *se)
{
	return se->ended_fd;
}

void session_stop(struct session *se)
{
	session_end(se);
	for (unsigned n = 0; n < se->threads; n++)
		pthread_join(se->thread[n], NULL);
	close(se->stop_fd);
	close(se->ended_fd);
	pthread_cond_destroy(&se->changed);
	pthread_mutex_destroy(&se->lock);
	g_free(se->thread);
	g_free(se);
}
