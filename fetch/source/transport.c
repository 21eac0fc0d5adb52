/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The only file that knows libcurl.
 *
 * The multi interface is driven by its sockets, not by curl_multi_perform(), which
 * looks at every transfer under way at every step. Easy handles are kept and set
 * anew rather than reset; those that ever carried credentials never carry an
 * exchange that is not trusted.
 */
#include "fetch/source/transport.h"
#include "fetch/pool.h"
#include "fetch/source/exchange.h"
#include "fetch/source/poller.h"
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SMALL (32L * 1024) /* receive buffers */
#define LARGE (512L * 1024)
#define STREAMS 100u       /* under way at once where HTTP/2 is spoken */
#define SWEEP_NS 100000000 /* how often deadlines are looked at */
#define SECOND_NS 1000000000
#define MS_NS INT64_C(1000000)

struct easy {
	CURL *curl;
	struct transport *transport;
	struct exchange *exchange;  /* NULL while idle */
	struct curl_slist *headers; /* owned; of this exchange only */
	struct easy *next;          /* idle */
	unsigned sent;              /* times, in this exchange */
	bool trusted;
	char cause[CURL_ERROR_SIZE];
};

struct transport {
	const struct credentials *credentials; /* borrowed */
	struct transport_options options;
	CURLM *multi;
	struct poller *poller;
	pthread_t thread;

	pthread_mutex_t lock;
	struct exchange *queue, *queue_end; /* under lock */
	bool sleeping, closing;             /* under lock */

	/* the network thread's */
	struct exchange *under_way;
	unsigned count, limit;
	struct easy *idle[2];          /* by `trusted` */
	struct curl_slist *headers[2]; /* by `trusted`: what every exchange sends */
	int64_t timer_ns;              /* libcurl's; 0 = not set */
	int64_t sweep_ns;              /* of the last one */
	int64_t alive_ns;              /* when anything last arrived */
};

/* ---- callbacks of libcurl ---- */

static void easy_progress(struct easy *e, size_t length)
{
	e->transport->alive_ns = clock_now();
	exchange_arrived(e->exchange, length, e->transport->alive_ns);
}

static size_t on_header(char *line, size_t one, size_t length, void *user)
{
	struct easy *e = user;
	struct exchange *x = e->exchange;
	easy_progress(e, length);
	if (x->head_seen || !reply_feed(&x->reply, line, length) || x->reply.status < 200)
		return length;
	x->head_seen = true;
	return x->head(x, &x->error) ? length : 0;
}

static size_t on_body(char *data, size_t one, size_t length, void *user)
{
	struct easy *e = user;
	struct exchange *x = e->exchange;
	easy_progress(e, length);
	if (!x->head_seen) {
		g_set_error(&x->error, FETCH_ERROR, FETCH_PROTOCOL, "a body without a head");
		return 0;
	}
	return length == 0 || x->body(x, data, length, &x->error) ? length : 0;
}

static int on_sent(void *user, char *ip, char *local, int port, int local_port)
{
	struct easy *e = user;
	e->sent++;
	e->exchange->sent = true;
	easy_progress(e, 0);
	return CURL_PREREQFUNC_OK;
}

/* A peer that no longer acknowledges ends the connection, with every stream on it. */
static int on_socket_made(void *user, curl_socket_t fd, curlsocktype purpose)
{
	struct transport *t = user;
	unsigned ms = t->options.stall_ms;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static int on_socket_close(void *user, curl_socket_t fd)
{
	struct transport *t = user;
	poller_forget(t->poller, fd);
	return close(fd);
}

static int on_socket_watch(CURL *curl, curl_socket_t fd, int what, void *user, void *socket)
{
	struct transport *t = user;
	uint32_t events = 0;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EPOLLOUT;
	poller_watch(t->poller, fd, events);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *user)
{
	struct transport *t = user;
	t->timer_ns = ms < 0 ? 0 : clock_now() + ms * MS_NS;
	return 0;
}

/* ---- easy handles ---- */

#define SET(e, option, value)                                                                      \
	do {                                                                                       \
		if (curl_easy_setopt((e)->curl, option, value) != CURLE_OK)                        \
			return false;                                                              \
	} while (0)

static bool easy_set_trusted(struct easy *e)
{
	const struct credentials *c = e->transport->credentials;
	char netrc[32];
	if (c->user != NULL) {
		SET(e, CURLOPT_USERNAME, c->user);
		SET(e, CURLOPT_PASSWORD, c->password);
		SET(e, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
	} else if (c->netrc >= 0 && c->token_name == NULL) {
		g_snprintf(netrc, sizeof(netrc), "/proc/self/fd/%d", c->netrc);
		SET(e, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
		SET(e, CURLOPT_NETRC_FILE, netrc);
	}
	return true;
}

static bool easy_set_once(struct easy *e)
{
	struct transport *t = e->transport;
	SET(e, CURLOPT_PRIVATE, e);
	SET(e, CURLOPT_NOSIGNAL, 1L);
	SET(e, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(e, CURLOPT_FOLLOWLOCATION, 0L);
	SET(e, CURLOPT_PIPEWAIT, 1L);
	SET(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(e, CURLOPT_USERAGENT, "lacunafs/" LACUNAFS_VERSION);
	SET(e, CURLOPT_CONNECTTIMEOUT_MS, (long)t->options.connect_ms);
	SET(e, CURLOPT_ERRORBUFFER, e->cause);
	SET(e, CURLOPT_HEADERFUNCTION, on_header);
	SET(e, CURLOPT_HEADERDATA, e);
	SET(e, CURLOPT_WRITEFUNCTION, on_body);
	SET(e, CURLOPT_WRITEDATA, e);
	SET(e, CURLOPT_PREREQFUNCTION, on_sent);
	SET(e, CURLOPT_PREREQDATA, e);
	SET(e, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
	SET(e, CURLOPT_SOCKOPTDATA, t);
	SET(e, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
	SET(e, CURLOPT_CLOSESOCKETDATA, t);
	SET(e, CURLOPT_TCP_KEEPALIVE, 1L);
	if (t->credentials->ca != NULL) {
		gsize size;
		struct curl_blob blob = {.flags = CURL_BLOB_COPY};
		blob.data = (void *)g_bytes_get_data(t->credentials->ca, &size);
		blob.len = size;
		SET(e, CURLOPT_CAINFO_BLOB, &blob);
	}
	return !e->trusted || easy_set_trusted(e);
}

static void easy_free(struct easy *e)
{
	curl_easy_cleanup(e->curl);
	curl_slist_free_all(e->headers);
	g_free(e);
}

static struct easy *easy_take(struct transport *t, bool trusted)
{
	struct easy *e = t->idle[trusted];
	if (e != NULL) {
		t->idle[trusted] = e->next;
		return e;
	}
	e = g_new0(struct easy, 1);
	e->transport = t;
	e->trusted = trusted;
	e->curl = curl_easy_init();
	if (e->curl != NULL && easy_set_once(e))
		return e;
	easy_free(e);
	return NULL;
}

static bool header_add(struct curl_slist **list, const char *name, const char *value)
{
	g_autofree char *line = g_strdup_printf("%s: %s", name, value);
	struct curl_slist *longer = curl_slist_append(*list, line);
	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

static bool headers_common(struct curl_slist **list, const struct credentials *c, bool trusted)
{
	bool good = header_add(list, "Accept-Encoding", "identity");
	for (char **h = c->headers; good && trusted && *h != NULL; h++) {
		struct curl_slist *longer = curl_slist_append(*list, *h);
		good = longer != NULL;
		*list = good ? longer : *list;
	}
	return good;
}

static bool out_of_memory(GError **error)
{
	g_set_error(error, LOCAL_ERROR, ENOMEM, "out of memory for a request");
	return false;
}

static bool easy_set_headers(struct easy *e, const struct exchange *x, GError **error)
{
	const struct credentials *c = e->transport->credentials;
	bool token = x->trusted && c->token_name != NULL;
	bool good = true;
	if (!token && x->accept == NULL && x->if_none_match == NULL &&
	    x->if_modified_since == NULL) {
		curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->transport->headers[x->trusted]);
		return true;
	}
	if (token) {
		g_autofree char *secret = credentials_token(c, error);
		if (secret == NULL)
			return false;
		g_autofree char *bearer = g_strconcat("Bearer ", secret, NULL);
		good = header_add(&e->headers, "Authorization", bearer);
	}
	good = good && headers_common(&e->headers, c, x->trusted);
	if (x->accept != NULL)
		good = good && header_add(&e->headers, "Accept", x->accept);
	if (x->if_none_match != NULL)
		good = good && header_add(&e->headers, "If-None-Match", x->if_none_match);
	if (x->if_modified_since != NULL)
		good = good && header_add(&e->headers, "If-Modified-Since", x->if_modified_since);
	if (!good)
		return out_of_memory(error);
	curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->headers);
	return true;
}

static bool easy_set(struct easy *e, const struct exchange *x)
{
	char range[48];
	bool tls = g_str_has_prefix(x->url, "https:");
	SET(e, CURLOPT_URL, x->url);
	SET(e, CURLOPT_HTTP_VERSION, (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	if (x->head_only)
		SET(e, CURLOPT_NOBODY, 1L);
	else
		SET(e, CURLOPT_HTTPGET, 1L);
	if (x->ranged)
		g_snprintf(range, sizeof(range), "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT,
		           x->first, x->last);
	SET(e, CURLOPT_RANGE, x->ranged ? range : NULL);
	SET(e, CURLOPT_FORBID_REUSE, 0L);
	/* Allocated for each exchange, so a small one does not get half a megabyte. Refused where
	 * a connection that broke left its buffer behind: then that one serves once more. */
	curl_easy_setopt(e->curl, CURLOPT_BUFFERSIZE,
	                 x->ranged && x->last - x->first < SMALL ? SMALL : LARGE);
	return true;
}

/* libcurl sends anew what a dying connection refused, but counts that over the life of
 * the handle and gives up at the fifth: such a handle has served. */
static void easy_give(struct easy *e)
{
	struct transport *t = e->transport;
	if (e->sent > 1) {
		easy_free(e);
		return;
	}
	curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(e->headers);
	e->headers = NULL;
	e->exchange = NULL;
	e->sent = 0;
	e->next = t->idle[e->trusted];
	t->idle[e->trusted] = e;
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
	struct easy *e = easy_take(t, x->trusted);
	if (e == NULL) {
		out_of_memory(&error);
		exchange_finish(x, error);
		return;
	}
	e->exchange = x;
	e->cause[0] = '\0';
	bool good = easy_set_headers(e, x, &error) && (easy_set(e, x) || out_of_memory(&error));
	if (good && curl_multi_add_handle(t->multi, e->curl) != CURLM_OK)
		good = out_of_memory(&error);
	if (!good) {
		easy_give(e);
		exchange_finish(x, error);
		return;
	}
	x->easy = e;
	exchange_begun(x, clock_now());
	exchange_link(t, x);
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
	if (!down || x->sent || t->alive_ns >= x->window_ns)
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
	struct easy *e = x->easy;
	curl_multi_remove_handle(t->multi, e->curl);
	exchange_unlink(t, x);
	x->easy = NULL;
	easy_give(e);
	queue_share(t, x, error);
	exchange_finish(x, error);
}

/* ---- results and deadlines ---- */

static enum fetch_error code_of(CURLcode result)
{
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		return FETCH_TIMEOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
	case CURLE_PROXY:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return FETCH_UNREACHABLE;
	case CURLE_URL_MALFORMAT:
		return FETCH_USAGE;
	default:
		return FETCH_PROTOCOL;
	}
}

/* libcurl's own words, but where they quote a URL: a proxy's may hold a password. */
static const char *cause_of(const struct easy *e, CURLcode result)
{
	bool quotes = strchr(e->cause, '@') != NULL || strstr(e->cause, "://") != NULL;
	return e->cause[0] == '\0' || quotes ? curl_easy_strerror(result) : e->cause;
}

static GError *error_of(struct exchange *x, CURLcode result)
{
	if (x->error != NULL)
		return g_steal_pointer(&x->error);
	if (result == CURLE_OK)
		return NULL;
	if (result == CURLE_OUT_OF_MEMORY)
		return g_error_new(LOCAL_ERROR, ENOMEM, "out of memory in a request");
	g_autofree char *cause = g_strdup(cause_of(x->easy, result));
	g_strdelimit(cause, "\r\n\t", ' ');
	return g_error_new(FETCH_ERROR, (gint)code_of(result), "%s", cause);
}

static void transport_reap(struct transport *t)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(t->multi, &left)) != NULL) {
		char *easy = NULL;
		long version = 0;
		CURLcode result = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &easy);
		struct exchange *x = ((struct easy *)(void *)easy)->exchange;
		if (t->limit < STREAMS) {
			curl_easy_getinfo(message->easy_handle, CURLINFO_HTTP_VERSION, &version);
			if (version >= CURL_HTTP_VERSION_2_0)
				t->limit = STREAMS;
		}
		exchange_end(t, x, error_of(x, result));
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
		if (gap > SECOND_NS)
			exchange_excuse(x, now);
		GError *error = exchange_overdue(x, &t->options, t->alive_ns, now);
		if (error == NULL)
			continue;
		curl_easy_setopt(x->easy->curl, CURLOPT_FORBID_REUSE, 1L);
		exchange_end(t, x, error);
	}
}

/* ---- the network thread ---- */

static struct exchange *transport_next(struct transport *t)
{
	pthread_mutex_lock(&t->lock);
	struct exchange *x = t->queue;
	if (x != NULL && (t->count < t->limit || t->closing)) {
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
	bool now_ready = t->closing || (t->queue != NULL && t->count < t->limit);
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
	ready = poller_wait(t->poller, transport_settle(t), events, G_N_ELEMENTS(events));
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

static void *transport_run(void *arg)
{
	struct transport *t = arg;
	struct exchange *x;
	bool closing = false;
	pthread_setname_np(pthread_self(), "network");
	while (!closing) {
		while ((x = transport_next(t)) != NULL)
			exchange_start(t, x);
		transport_step(t);
		pthread_mutex_lock(&t->lock);
		closing = t->closing;
		pthread_mutex_unlock(&t->lock);
	}
	/* callbacks may submit again: until nothing is left */
	do {
		while (t->under_way != NULL)
			exchange_end(t, t->under_way, error_cancelled());
		x = transport_next(t);
		if (x != NULL)
			exchange_finish(x, error_cancelled());
	} while (x != NULL);
	return NULL;
}

/* ---- life ---- */

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void transport_destroy(struct transport *t)
{
	for (int i = 0; i < 2; i++) {
		for (struct easy *next, *e = t->idle[i]; e != NULL; e = next) {
			next = e->next;
			easy_free(e);
		}
		curl_slist_free_all(t->headers[i]);
	}
	curl_multi_cleanup(t->multi);
	poller_free(t->poller);
	pthread_mutex_destroy(&t->lock);
	g_free(t);
}

static bool transport_prepare(struct transport *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	t->poller = poller_new();
	t->multi = curl_multi_init();
	if (t->poller == NULL || t->multi == NULL)
		return false;
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket_watch);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)t->options.connections);
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)t->options.connections * 2);
	return headers_common(&t->headers[0], t->credentials, false) &&
	       headers_common(&t->headers[1], t->credentials, true);
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
	t->credentials = credentials;
	t->options = *options;
	t->limit = options->connections;
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
		poller_wake(t->poller);
}

void transport_free(struct transport *t)
{
	pthread_mutex_lock(&t->lock);
	t->closing = true;
	pthread_mutex_unlock(&t->lock);
	poller_wake(t->poller);
	pthread_join(t->thread, NULL);
	transport_destroy(t);
}
