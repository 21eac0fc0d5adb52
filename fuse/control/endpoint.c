/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/endpoint.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fetch/base/pool.h"
#include "fuse/base/address.h"
#include "fuse/control/http_request.h"
#include "fuse/control/metrics.h"

struct scrape {
	int fd;           /* -1: free */
	int64_t until_ns; /* of the whole exchange */
	size_t got;
	char request[HTTP_REQUEST_MAX];
	GString *answer; /* NULL: the request is not complete */
	size_t sent;
};

struct endpoint {
	struct server *server; /* borrowed */
	struct address address;
	dev_t dev; /* of the socket, so that only our own is removed */
	ino_t ino;
	int listener, wake;
	pthread_t thread;
	struct scrape scrapes[ENDPOINT_CLIENTS];
};

static void scrape_end(struct scrape *c)
{
	if (c->answer)
		g_string_free(c->answer, TRUE);
	close(c->fd);
	c->fd = -1;
	c->answer = NULL;
}

static void answer_make(struct endpoint *e, struct scrape *c, unsigned status, bool head)
{
	GString *body = status == 200 ? metrics_text(e->server) : g_string_new(NULL);
	if (status != 200)
		g_string_printf(body, "%u %s\n", status, http_reason(status));
	c->answer = g_string_new(NULL);
	g_string_printf(c->answer,
	                "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %" G_GSIZE_FORMAT
	                "\r\n%sConnection: close\r\n\r\n",
	                status, http_reason(status), status == 200 ? METRICS_TYPE : "text/plain",
	                body->len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!head)
		g_string_append_len(c->answer, body->str, (gssize)body->len);
	g_string_free(body, TRUE);
}

/* false: it is over. */
static bool scrape_read(struct endpoint *e, struct scrape *c)
{
	ssize_t n = recv(c->fd, c->request + c->got, sizeof c->request - c->got, MSG_DONTWAIT);
	bool head;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	c->got += (size_t)n;
	unsigned status = http_request_status(c->request, c->got, &head);
	if (status)
		answer_make(e, c, status, head);
	return true;
}

/* At the end the peer's further bytes are discarded: close(2) would reset the connection, and the
 * answer with it. */
static bool scrape_write(struct scrape *c)
{
	ssize_t n = send(c->fd, c->answer->str + c->sent, c->answer->len - c->sent,
	                 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->sent += (size_t)n;
	if (c->sent < c->answer->len)
		return true;
	shutdown(c->fd, SHUT_WR);
	return recv(c->fd, c->request, sizeof c->request, MSG_DONTWAIT) > 0;
}

static void scrape_take(struct endpoint *e, int64_t now)
{
	int fd = accept4(e->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			g_usleep(100000); /* it stays in the queue: do not spin on it */
		return;
	}
	for (unsigned n = 0; n < ENDPOINT_CLIENTS; n++) {
		struct scrape *c = &e->scrapes[n];
		if (c->fd >= 0)
			continue;
		c->fd = fd;
		c->got = c->sent = 0;
		c->until_ns = now + ENDPOINT_MS * INT64_C(1000000);
		return;
	}
	close(fd);
}

static void scrape_step(struct endpoint *e, struct scrape *c, short ready, int64_t now)
{
	bool on = now < c->until_ns;
	if (on && ready)
		on = c->answer ? scrape_write(c) : scrape_read(e, c);
	if (!on)
		scrape_end(c);
}

/* While all places are taken nobody is accepted. */
static unsigned polls_fill(struct endpoint *e, struct pollfd *p)
{
	unsigned busy = 0;
	p[0] = (struct pollfd){.fd = e->wake, .events = POLLIN};
	for (unsigned n = 0; n < ENDPOINT_CLIENTS; n++) {
		struct scrape *c = &e->scrapes[n];
		p[2 + n] = (struct pollfd){.fd = c->fd, .events = c->answer ? POLLOUT : POLLIN};
		busy += c->fd >= 0;
	}
	p[1] = (struct pollfd){.fd = busy < ENDPOINT_CLIENTS ? e->listener : -1, .events = POLLIN};
	return busy;
}

static void *endpoint_main(void *data)
{
	struct endpoint *e = data;
	struct pollfd p[2 + ENDPOINT_CLIENTS];
	pthread_setname_np(pthread_self(), "metrics");
	for (;;) {
		unsigned busy = polls_fill(e, p);
		if (poll(p, G_N_ELEMENTS(p), busy ? 500 : -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		int64_t now = clock_now();
		for (unsigned n = 0; n < ENDPOINT_CLIENTS; n++)
			if (e->scrapes[n].fd >= 0)
				scrape_step(e, &e->scrapes[n], p[2 + n].revents, now);
		if (p[1].fd >= 0 && p[1].revents)
			scrape_take(e, now);
	}
	return NULL;
}

/* A socket that a dead daemon left. One that is served may have its queue full: EAGAIN. */
static void leftover_remove(const struct address *a)
{
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (lstat(a->path.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && fd >= 0 &&
	    connect(fd, &a->any, a->length) != 0 && errno == ECONNREFUSED)
		unlink(a->path.sun_path);
	if (fd >= 0)
		close(fd);
}

static bool endpoint_listen(struct endpoint *e, const char *where, GError **error)
{
	const int on = 1;
	bool local = e->address.any.sa_family == AF_UNIX;
	struct stat st;
	if (local)
		leftover_remove(&e->address);
	e->listener =
	        socket(e->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	e->wake = eventfd(0, EFD_CLOEXEC);
	if (e->listener >= 0 && !local)
		setsockopt(e->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bool ok = e->listener >= 0 && e->wake >= 0 &&
	          bind(e->listener, &e->address.any, e->address.length) == 0;
	/* nobody can connect before listen(2) */
	if (ok && local && chmod(e->address.path.sun_path, 0600) == 0 &&
	    lstat(e->address.path.sun_path, &st) == 0) {
		e->dev = st.st_dev;
		e->ino = st.st_ino;
	}
	if (ok && (!local || e->ino) && listen(e->listener, SOMAXCONN) == 0)
		return true;
	g_set_error(error, LOCAL_ERROR, errno, "-o metrics=%s: %s", where, g_strerror(errno));
	return false;
}

static void endpoint_close(struct endpoint *e)
{
	struct stat st;
	if (e->ino && lstat(e->address.path.sun_path, &st) == 0 && st.st_dev == e->dev &&
	    st.st_ino == e->ino)
		unlink(e->address.path.sun_path);
	for (unsigned n = 0; n < ENDPOINT_CLIENTS; n++)
		if (e->scrapes[n].fd >= 0)
			scrape_end(&e->scrapes[n]);
	if (e->listener >= 0)
		close(e->listener);
	if (e->wake >= 0)
		close(e->wake);
	g_free(e);
}

struct endpoint *endpoint_new(struct server *s, const char *where, GError **error)
{
	struct endpoint *e = g_new0(struct endpoint, 1);
	sigset_t all, before;
	e->server = s;
	e->listener = e->wake = -1;
	for (unsigned n = 0; n < ENDPOINT_CLIENTS; n++)
		e->scrapes[n].fd = -1;
	bool ok = address_parse(where, &e->address, error) && endpoint_listen(e, where, error);
	sigfillset(&all); /* signals are for the thread that waits for them */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = ok ? pthread_create(&e->thread, NULL, endpoint_main, e) : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		g_set_error(error, LOCAL_ERROR, err, "-o metrics=%s: %s", where, g_strerror(err));
	if (ok && !err)
		return e;
	endpoint_close(e);
	return NULL;
}

void endpoint_free(struct endpoint *e)
{
	uint64_t one = 1;
	if (!e)
		return;
	if (write(e->wake, &one, sizeof one) < 0)
		g_warning("cannot end the metrics' thread: %s", g_strerror(errno));
	pthread_join(e->thread, NULL);
	endpoint_close(e);
}
