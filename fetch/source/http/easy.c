/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/easy_private.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/pool.h"
#include "fetch/source/http/jar.h"
#include "fetch/source/http/poller.h"

#define HEAD_MAX (256u * 1024) /* of all heads of one exchange; libcurl ends a line at 100 KiB */

/* ---- callbacks of libcurl ---- */

static void easy_progress(struct easy *e, size_t length)
{
	e->context->alive_ns = clock_now();
	exchange_arrived(e->exchange, length, e->context->alive_ns);
}

static bool head_whole(struct easy *e)
{
	struct exchange *x = e->exchange;
	x->head_seen = true;
	if (!x->head_only && excess_expect(&e->excess, &x->reply))
		curl_easy_setopt(e->curl, CURLOPT_VERBOSE, 1L);
	return x->head(x, &x->error);
}

static bool line_begins(const char *line, size_t length, const char *with)
{
	size_t size = strlen(with);
	return length >= size && g_ascii_strncasecmp(line, with, size) == 0;
}

static size_t on_header(char *line, size_t one, size_t length, void *user)
{
	struct easy *e = user;
	struct exchange *x = e->exchange;
	easy_progress(e, length);
	e->head_bytes += length;
	if (e->head_bytes > HEAD_MAX) {
		if (x->error == NULL)
			g_set_error(&x->error, FETCH_ERROR, FETCH_PROTOCOL,
			            "the header of the answer is longer than %u KiB",
			            HEAD_MAX / 1024);
		return 0;
	}
	if (e->context->options.cookies && x->trusted && line_begins(line, length, "Set-Cookie:"))
		e->context->cookies_set++;
	if (line_begins(line, length, "HTTP/"))
		e->unanswered = false;
	if (x->head_seen || !reply_feed(&x->reply, line, length) || x->reply.status < 200)
		return length;
	if (x->reply.status == 401 && x->trusted && e->context->credentials->digest &&
	    !e->challenged) {
		e->challenged = e->unanswered = true;
		return length;
	}
	return head_whole(e) ? length : 0;
}

static size_t on_body(char *data, size_t one, size_t length, void *user)
{
	struct easy *e = user;
	struct exchange *x = e->exchange;
	easy_progress(e, length);
	/* a 401 that libcurl did not answer is the final answer */
	if (!x->head_seen && e->unanswered && !head_whole(e))
		return 0;
	if (!x->head_seen) {
		g_set_error(&x->error, FETCH_ERROR, FETCH_PROTOCOL, "an answer without a header");
		return 0;
	}
	if (!excess_body(&e->excess, length, &x->error))
		return 0;
	if (length > 0 && !x->body(x, data, length, &x->error))
		return 0;
	if (x->held)
		curl_easy_pause(e->curl, CURLPAUSE_RECV);
	return length;
}

static int on_debug(CURL *curl, curl_infotype type, char *text, size_t length, void *user)
{
	struct easy *e = user;
	if (type == CURLINFO_TEXT)
		excess_said(&e->excess, text, length);
	return 0;
}

static int on_sent(void *user, char *ip, char *local, int port, int local_port)
{
	struct easy *e = user;
	e->exchange->sent = true;
	easy_progress(e, 0);
	e->exchange->sent_ns = e->context->alive_ns;
	return CURL_PREREQFUNC_OK;
}

/* A peer that no longer acknowledges ends the connection, with every stream on it. */
static int on_socket_made(void *user, curl_socket_t fd, curlsocktype purpose)
{
	struct easy_context *c = user;
	unsigned ms = c->options.stall_ms;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static int on_socket_close(void *user, curl_socket_t fd)
{
	struct easy_context *c = user;
	poller_forget(c->poller, fd);
	return close(fd);
}

static bool set_callbacks(struct easy *e)
{
	SET(e, CURLOPT_PRIVATE, e);
	SET(e, CURLOPT_ERRORBUFFER, e->cause);
	SET(e, CURLOPT_HEADERFUNCTION, on_header);
	SET(e, CURLOPT_HEADERDATA, e);
	SET(e, CURLOPT_WRITEFUNCTION, on_body);
	SET(e, CURLOPT_WRITEDATA, e);
	SET(e, CURLOPT_PREREQFUNCTION, on_sent);
	SET(e, CURLOPT_PREREQDATA, e);
	SET(e, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
	SET(e, CURLOPT_SOCKOPTDATA, e->context);
	SET(e, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close);
	SET(e, CURLOPT_CLOSESOCKETDATA, e->context);
	SET(e, CURLOPT_DEBUGFUNCTION, on_debug);
	SET(e, CURLOPT_DEBUGDATA, e);
	return true;
}

/* ---- results ---- */

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

/* libcurl's own message, unless it quotes a URL: a proxy's may hold a password. */
static const char *cause_of(const struct easy *e, CURLcode result)
{
	bool quotes = strchr(e->cause, '@') != NULL || strstr(e->cause, "://") != NULL;
	return e->cause[0] == '\0' || quotes ? curl_easy_strerror(result) : e->cause;
}

GError *easy_error(struct easy *e, CURLcode result)
{
	struct exchange *x = e->exchange;
	if (x->error != NULL)
		return g_steal_pointer(&x->error);
	if (result == CURLE_OK && !x->head_seen && e->unanswered && !head_whole(e) &&
	    x->error != NULL)
		return g_steal_pointer(&x->error);
	/* libcurl takes a head for complete if the connection closes within it */
	if (result == CURLE_OK && !x->head_seen)
		return g_error_new(FETCH_ERROR, FETCH_UNREACHABLE,
		                   "the connection was closed within the header of the answer");
	if (result == CURLE_OK) {
		excess_over(&e->excess, &x->error);
		return g_steal_pointer(&x->error);
	}
	/* libcurl's result for a line of more than 100 KiB, too, which it does not pass on */
	if (result == CURLE_OUT_OF_MEMORY && x->sent && !x->head_seen)
		return g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
		                   "a line in the header of the answer is too long");
	if (result == CURLE_BAD_FUNCTION_ARGUMENT && x->sent)
		return g_error_new(FETCH_ERROR, FETCH_PROTOCOL,
		                   "the header of the answer begins within a line");
	if (result == CURLE_OUT_OF_MEMORY)
		return g_error_new(LOCAL_ERROR, ENOMEM, "out of memory in a request");
	g_autofree char *cause = g_strdup(cause_of(e, result));
	g_strdelimit(cause, "\r\n\t", ' ');
	return g_error_new(FETCH_ERROR, (gint)code_of(result), "%s", cause);
}

/* ---- life ---- */

struct easy *easy_new(struct easy_context *c, struct exchange *x, GError **error)
{
	struct easy *e = g_new0(struct easy, 1);
	e->context = c;
	e->exchange = x;
	e->excess.fd = -1;
	e->curl = curl_easy_init();
	if (e->curl != NULL && set_callbacks(e)) {
		if (easy_options_set(e, error))
			return e;
	} else {
		g_set_error(error, LOCAL_ERROR, ENOMEM, "out of memory for a request");
	}
	easy_free(e);
	return NULL;
}

void easy_free(struct easy *e)
{
	if (e->curl != NULL)
		jar_check(e->context, e->curl);
	curl_easy_cleanup(e->curl);
	curl_slist_free_all(e->headers);
	g_free(e);
}

void easy_socket(CURL *handle, int fd)
{
	struct easy *e = easy_of(handle);
	/* an encrypted connection has messages between its answers, too */
	if (e != NULL && !g_str_has_prefix(e->exchange->url, "https:"))
		e->excess.fd = fd;
}

CURL *easy_handle(const struct easy *e)
{
	return e->curl;
}

struct easy *easy_of(CURL *handle)
{
	char *easy = NULL;
	curl_easy_getinfo(handle, CURLINFO_PRIVATE, &easy);
	return (struct easy *)(void *)easy;
}

struct exchange *easy_exchange(const struct easy *e)
{
	return e->exchange;
}

bool easy_context_prepare(struct easy_context *c)
{
	for (int i = 0; i < 2; i++) {
		c->share[i] = curl_share_init();
		if (c->share[i] == NULL ||
		    curl_share_setopt(c->share[i], CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
		            CURLSHE_OK)
			return false;
	}
	if (c->options.cookies &&
	    curl_share_setopt(c->share[1], CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) != CURLSHE_OK)
		return false;
	return easy_headers_common(&c->headers[0], c->credentials, false) &&
	       easy_headers_common(&c->headers[1], c->credentials, true);
}

void easy_context_clear(struct easy_context *c)
{
	curl_slist_free_all(c->headers[0]);
	curl_slist_free_all(c->headers[1]);
	curl_share_cleanup(c->share[0]);
	curl_share_cleanup(c->share[1]);
}
