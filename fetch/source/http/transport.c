/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The multi interface is driven by its sockets, not by curl_multi_perform(), which looks at
 * every transfer under way at every step.
 */
#include "fetch/source/http/transport.h"
#include "fetch/base/pool.h"
#include "fetch/source/http/easy.h"
#include "fetch/source/http/pace.h"
#include "fetch/source/http/poller.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

#define STREAMS 100u       /* under way at once where HTTP/2 is spoken */
#define SWEEP_NS 100000000 /* how often deadlines are looked at */
#define SECOND_NS 1000000000
#define MS_NS INT64_C(1000000)

struct transport {
	struct easy_context context;
	CURLM *multi;
	pthread_t thread;

	pthread_mutex_t lock;
	struct exchange *queue, *queue_end; /* under lock */
	bool sleeping, stopped, closing;    /* under lock */
	bool resuming;                      /* under lock: some exchange is to go on */

	/* the network thread's */
	struct exchange *under_way;
	unsigned count;
	struct pace pace;
	int64_t timer_ns; /* libcurl's; 0 = not set */
	int64_t sweep_ns; /* of the last one */
};

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

/* ---- one exchange ---- */

static void exchange_finish(struct exchange *x, GError *error)
{
	x->done(x, error);
	g_clear_error(&error);
}

static void exchange_link(struct transport *t, struct exchange *x)
{
	x->previous = NULL;
	x->next = t->under_way;
	if (x->next != NULL)
		x->next->previous = x;
	t->under_way = x;
	t->count++;
}

static void exchange_unlink(struct transport *t, struct exchange *x)
{
	if (x->previous != NULL)
		x->previous->next = x->next;
	else
		t->under_way = x->next;
	if (x->next != NULL)
		x->next->previous = x->previous;
	x->next = x->previous = NULL;
	t->count--;
}

static void exchange_start(struct transport *t, struct exchange *x)
{
	GError *error = NULL;
	struct easy *e = NULL;
	if (x->start == NULL || x->start(x, &error))
		e = easy_new(&t->context, x, &error);
	if (e != NULL && curl_multi_add_handle(t->multi, easy_handle(e)) != CURLM_OK) {
		g_set_error(&error, LOCAL_ERROR, ENOMEM, "out of memory for a request");
		easy_free(e);
	}
	if (error != NULL) {
		exchange_finish(x, error);
		return;
	}
	x->easy = e;
	exchange_begun(x, clock_now());
	exchange_link(t, x);
	for (struct exchange *y = x; y != NULL; y = y->next)
		y->beside = MAX(y->beside, t->count);
}

static bool same_server(const char *a, const char *b)
{
	const char *path = strchr(strstr(a, "://") + 3, '/');
	size_t length = path != NULL ? (size_t)(path - a) : strlen(a);
	return strncmp(a, b, length) == 0 && (b[length] == '/' || b[length] == '\0');
}

/* Takes what waits for the server of `x` out of the queue. */
static struct exchange *queue_take_same(struct transport *t, const struct exchange *x)
{
	struct exchange *taken = NULL, **taken_end = &taken, **at = &t->queue;
	pthread_mutex_lock(&t->lock);
	t->queue_end = NULL;
	while (*at != NULL) {
		struct exchange *y = *at;
		if (!same_server(x->url, y->url)) {
			t->queue_end = y;
			at = &y->next;
			continue;
		}
		*at = y->next;
		y->next = NULL;
		*taken_end = y;
		taken_end = &y->next;
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}

/* A server that could not be connected to, while nothing arrived from anywhere: what
 * waits for it shares the failure, or each in turn would wait for as long again. */
static void queue_share(struct transport *t, const struct exchange *x, const GError *error)
{
	bool down = g_error_matches(error, FETCH_ERROR, FETCH_UNREACHABLE) ||
	            g_error_matches(error, FETCH_ERROR, FETCH_TIMEOUT);
	if (!down || x->sent || t->context.alive_ns >= x->window_ns)
		return;
	for (struct exchange *next, *y = queue_take_same(t, x); y != NULL; y = next) {
		next = y->next;
		y->next = NULL;
		exchange_finish(y, g_error_copy(error));
	}
}

/* Ends what is under way. Takes `error`. */
static void exchange_end(struct transport *t, struct exchange *x, GError *error)
{
	curl_multi_remove_handle(t->multi, easy_handle(x->easy));
	exchange_unlink(t, x);
	g_clear_pointer(&x->easy, easy_free);
	queue_share(t, x, error);
	exchange_finish(x, error);
}

/* ---- results and deadlines ---- */

static void pace_set(struct transport *t, unsigned before)
{
	unsigned allowed = pace_allowed(&t->pace);
	if (allowed == before)
		return;
	/* what is idle counts, too, where connections are counted */
	unsigned connections = MIN(allowed, t->context.options.connections);
	curl_multi_setopt(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)connections);
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)connections * 2);
}

static void pace_learn(struct transport *t, CURL *handle, struct exchange *x)
{
	unsigned before = pace_allowed(&t->pace);
	int64_t now = clock_now();
	long version = 0;
	curl_easy_getinfo(handle, CURLINFO_HTTP_VERSION, &version);
	if (version >= CURL_HTTP_VERSION_2_0)
		t->pace.limit = STREAMS;
	if (!x->head_seen)
		return;
	if (x->reply.status == 503 || x->reply.status == 429)
		x->crowded = pace_refused(&t->pace, x->beside, x->begun_ns, now);
	else
		pace_answered(&t->pace, now);
	pace_set(t, before);
}

static void transport_reap(struct transport *t)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(t->multi, &left)) != NULL) {
		CURLcode result = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		struct easy *e = easy_of(message->easy_handle);
		struct exchange *x = easy_exchange(e);
		pace_learn(t, message->easy_handle, x);
		exchange_end(t, x, easy_error(e, result));
	}
}

static void transport_sweep(struct transport *t)
{
	int64_t now = clock_now();
	int64_t gap = now - t->sweep_ns;
	if (gap < SWEEP_NS)
		return;
	t->sweep_ns = now;
	for (struct exchange *next, *x = t->under_way; x != NULL; x = next) {
		next = x->next;
		/* this thread itself was kept from reading: not the peer's fault */
		if (gap > SECOND_NS || x->held)
			exchange_excuse(x, now);
		GError *error = exchange_overdue(x, &t->context.options, t->context.alive_ns, now);
		if (error == NULL)
			continue;
		curl_easy_setopt(easy_handle(x->easy), CURLOPT_FORBID_REUSE, 1L);
		exchange_end(t, x, error);
	}
}

/* ---- bodies that were held up ---- */

/* The next one that may go on. */
static struct exchange *resume_next(struct transport *t)
{
	pthread_mutex_lock(&t->lock);
	struct exchange *x = t->resuming ? t->under_way : NULL;
	while (x != NULL && !x->resume)
		x = x->next;
	if (x != NULL)
		x->resume = false;
	else
		t->resuming = false;
	pthread_mutex_unlock(&t->lock);
	return x;
}

static void transport_go_on(struct transport *t)
{
	struct exchange *x;
	while ((x = resume_next(t)) != NULL) {
		if (!x->held)
			continue;
		x->held = false;
		exchange_excuse(x, clock_now());
		/* gives what it has kept to body() */
		CURLcode result = curl_easy_pause(easy_handle(x->easy), CURLPAUSE_CONT);
		if (result != CURLE_OK)
			exchange_end(t, x, easy_error(x->easy, result));
	}
}

/* ---- the network thread ---- */

static struct exchange *transport_next(struct transport *t)
{
	pthread_mutex_lock(&t->lock);
	struct exchange *x = t->queue;
	bool room = t->count < pace_allowed(&t->pace) && !t->stopped;
	if (x != NULL && (room || t->closing)) {
		t->queue = x->next;
		x->next = NULL;
	} else {
		x = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	return x;
}

/* How long to sleep; from here on until it returns a submitter has to wake the thread. */
static int transport_settle(struct transport *t)
{
	int64_t now = clock_now(), until = INT64_MAX;
	if (t->timer_ns != 0)
		until = t->timer_ns;
	if (t->count > 0)
		until = MIN(until, t->sweep_ns + SWEEP_NS);
	pthread_mutex_lock(&t->lock);
	t->sleeping = true;
	bool now_ready = t->closing || t->resuming ||
	                 (t->queue != NULL && t->count < pace_allowed(&t->pace));
	pthread_mutex_unlock(&t->lock);
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
	pthread_mutex_lock(&t->lock);
	t->sleeping = false;
	pthread_mutex_unlock(&t->lock);
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
	pthread_mutex_lock(&t->lock);
	struct exchange *x = t->queue;
	if (x != NULL) {
		t->queue = x->next;
		x->next = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	return x;
}

/* Callbacks may submit again: until nothing is left. */
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
		pthread_mutex_lock(&t->lock);
		stopped = t->stopped;
		closing = t->closing;
		pthread_mutex_unlock(&t->lock);
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
	pthread_mutex_destroy(&t->lock);
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

struct transport *transport_new(const struct credentials *credentials,
                                const struct transport_options *options, GError **error)
{
	struct transport *t = g_new0(struct transport, 1);
	t->context.credentials = credentials;
	t->context.options = *options;
	t->pace.limit = options->connections;
	pthread_mutex_init(&t->lock, NULL);
	if (transport_prepare(t) && thread_start(t) == 0)
		return t;
	g_set_error(error, LOCAL_ERROR, ENOMEM, "cannot start the network thread");
	transport_destroy(t);
	return NULL;
}

void transport_submit(struct transport *t, struct exchange *x)
{
	exchange_reset(x);
	pthread_mutex_lock(&t->lock);
	if (t->queue == NULL)
		t->queue = x;
	else
		t->queue_end->next = x;
	t->queue_end = x;
	bool wake = t->sleeping;
	t->sleeping = false;
	pthread_mutex_unlock(&t->lock);
	if (wake)
		poller_wake(t->context.poller);
}

void transport_resume(struct transport *t, struct exchange *x)
{
	pthread_mutex_lock(&t->lock);
	x->resume = t->resuming = true;
	bool wake = t->sleeping;
	t->sleeping = false;
	pthread_mutex_unlock(&t->lock);
	if (wake)
		poller_wake(t->context.poller);
}

static void transport_tell(struct transport *t, bool closing)
{
	pthread_mutex_lock(&t->lock);
	t->stopped = true;
	t->closing = closing;
	pthread_mutex_unlock(&t->lock);
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
