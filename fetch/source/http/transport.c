/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The multi interface is driven by its sockets, not by curl_multi_perform(), which looks at
 * every transfer under way at every step.
 */
#include "fetch/source/http/transport_private.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include "fetch/base/pool.h"
#include "fetch/source/http/poller.h"

#define MS_NS INT64_C(1000000)

/* ---- callbacks of libcurl ---- */

static int on_socket_watch(CURL *curl, curl_socket_t fd, int what, void *user, void *socket)
{
	struct transport *t = user;
	uint32_t events = 0;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EPOLLOUT;
	if (what != CURL_POLL_REMOVE)
		easy_socket(curl, fd);
	poller_watch(t->context.poller, fd, events);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
	struct transport *t = user;
	t->timer_ns = ms < 0 ? 0 : clock_now() + ms * MS_NS;
	return 0;
}

/* ---- the network thread ---- */

static struct exchange *transport_next(struct transport *t)
{
	mutex_lock(&t->lock);
	struct exchange *x = t->queue;
	bool open = t->count < pace_allowed(&t->pace) && !t->stopped;
	if (x != NULL && (open || t->closing)) {
		t->queue = x->next;
		x->next = NULL;
	} else {
		x = NULL;
	}
	mutex_unlock(&t->lock);
	return x;
}

/* Returns how long to sleep. From here on until it ends, a submitter must wake the thread. */
static int transport_settle(struct transport *t)
{
	int64_t now = clock_now(), until = INT64_MAX;
	if (t->timer_ns != 0)
		until = t->timer_ns;
	if (t->count > 0)
		until = MIN(until, transport_next_sweep(t));
	mutex_lock(&t->lock);
	t->sleeping = true;
	bool now_ready = t->closing || t->resuming ||
	                 (t->queue != NULL && t->count < pace_allowed(&t->pace));
	mutex_unlock(&t->lock);
	if (now_ready || until <= now)
		return 0;
	return until == INT64_MAX ? -1 : (int)((until - now + MS_NS - 1) / MS_NS);
}

static void transport_step(struct transport *t)
{
	struct poller_event events[64];
	int running, ready;
	if (t->timer_ns != 0 && clock_now() >= t->timer_ns) {
		t->timer_ns = 0;
		curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		transport_reap(t);
	}
	ready = poller_wait(t->context.poller, transport_settle(t), events, G_N_ELEMENTS(events));
	mutex_lock(&t->lock);
	t->sleeping = false;
	mutex_unlock(&t->lock);
	for (int i = 0; i < ready; i++) {
		int mask = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		           (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		           (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
		curl_multi_socket_action(t->multi, events[i].fd, mask, &running);
	}
	transport_reap(t);
	transport_sweep(t);
}

static GError *error_cancelled(void)
{
	return g_error_new(FETCH_ERROR, FETCH_CANCELLED, "the source is being closed");
}

static struct exchange *queue_take(struct transport *t)
{
	mutex_lock(&t->lock);
	struct exchange *x = t->queue;
	if (x != NULL) {
		t->queue = x->next;
		x->next = NULL;
	}
	mutex_unlock(&t->lock);
	return x;
}

/* Callbacks may submit again: repeats until nothing is left. */
static void transport_cancel(struct transport *t)
{
	struct exchange *x;
	do {
		while (t->under_way != NULL)
			exchange_end(t, t->under_way, error_cancelled());
		x = queue_take(t);
		if (x != NULL)
			exchange_finish(x, error_cancelled());
	} while (x != NULL);
}

static void *transport_run(void *arg)
{
	struct transport *t = arg;
	struct exchange *x;
	bool stopped = false, closing = false;
	pthread_setname_np(pthread_self(), "network");
	while (!closing) {
		while ((x = transport_next(t)) != NULL)
			exchange_start(t, x);
		transport_go_on(t);
		transport_step(t);
		mutex_lock(&t->lock);
		stopped = t->stopped;
		closing = t->closing;
		mutex_unlock(&t->lock);
		if (stopped)
			transport_cancel(t);
	}
	return NULL;
}

/* ---- life ---- */

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void transport_destroy(struct transport *t)
{
	curl_multi_cleanup(t->multi);
	easy_context_clear(&t->context);
	poller_free(t->context.poller);
	mutex_destroy(&t->lock);
	g_free(t);
}

static bool transport_prepare(struct transport *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	t->context.poller = poller_new();
	t->multi = curl_multi_init();
	if (t->context.poller == NULL || t->multi == NULL)
		return false;
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket_watch);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
	                  (long)t->context.options.connections);
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)t->context.options.connections * 2);
	return easy_context_prepare(&t->context);
}

static int thread_start(struct transport *t)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = pthread_create(&t->thread, NULL, transport_run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

struct transport *transport_new(struct credentials *credentials,
                                const struct transport_options *options, GError **error)
{
	struct transport *t = g_new0(struct transport, 1);
	t->context.credentials = credentials;
	t->context.options = *options;
	t->pace.limit = options->connections;
	mutex_init(&t->lock, RANK_TRANSPORT);
	if (transport_prepare(t) && thread_start(t) == 0)
		return t;
	g_set_error(error, LOCAL_ERROR, ENOMEM, "cannot start the network thread");
	transport_destroy(t);
	return NULL;
}

void transport_submit(struct transport *t, struct exchange *x)
{
	exchange_reset(x);
	mutex_lock(&t->lock);
	if (t->queue == NULL)
		t->queue = x;
	else
		t->queue_end->next = x;
	t->queue_end = x;
	bool wake = t->sleeping;
	t->sleeping = false;
	mutex_unlock(&t->lock);
	if (wake)
		poller_wake(t->context.poller);
}

void transport_resume(struct transport *t, struct exchange *x)
{
	mutex_lock(&t->lock);
	x->resume = t->resuming = true;
	bool wake = t->sleeping;
	t->sleeping = false;
	mutex_unlock(&t->lock);
	if (wake)
		poller_wake(t->context.poller);
}

static void transport_tell(struct transport *t, bool closing)
{
	mutex_lock(&t->lock);
	t->stopped = true;
	t->closing = closing;
	mutex_unlock(&t->lock);
	poller_wake(t->context.poller);
}

void transport_stop(struct transport *t)
{
	transport_tell(t, false);
}

void transport_free(struct transport *t)
{
	transport_tell(t, true);
	pthread_join(t->thread, NULL);
	transport_destroy(t);
}
