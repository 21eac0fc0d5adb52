/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/easy.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/pool.h"
#include "fetch/source/http/excess.h"
#include "fetch/source/http/jar.h"
#include "fetch/source/http/poller.h"

#define SMALL (32L * 1024) /* receive buffers */
#define LARGE (512L * 1024)
#define HEAD_MAX (256u * 1024) /* of all heads of one exchange; libcurl ends a line at 100 KiB */

struct easy {
	CURL *curl;
	struct easy_context *context;
	struct exchange *exchange;
	struct curl_slist *headers; /* owned; of this exchange only */
	struct excess excess;
	size_t head_bytes;
	bool challenged; /* a 401 was seen that libcurl may answer by itself */
	bool unanswered; /* and no other head has begun since: it may be the last word */
	char cause[CURL_ERROR_SIZE];
};

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
	/* the answer to a challenge is what is told of: it was the last word */
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

static int on_told(CURL *curl, curl_infotype type, char *text, size_t length, void *user)
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

/* ---- what a handle is told ---- */

#define SET(e, option, value)                                                                      \
	do {                                                                                       \
		if (curl_easy_setopt((e)->curl, option, value) != CURLE_OK)                        \
			return false;                                                              \
	} while (0)

static bool set_blob(struct easy *e, CURLoption option, GBytes *bytes)
{
	gsize size;
	struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};
	blob.data = (void *)g_bytes_get_data(bytes, &size);
	blob.len = size;
	SET(e, option, &blob);
	return true;
}

static bool set_trusted(struct easy *e)
{
	const struct credentials *c = e->context->credentials;
	char netrc[32];
	if (c->user != NULL) {
		SET(e, CURLOPT_USERNAME, c->user);
		SET(e, CURLOPT_PASSWORD, c->password);
	} else if (c->netrc >= 0 && c->token.name == NULL) {
		g_snprintf(netrc, sizeof(netrc), "/proc/self/fd/%d", c->netrc);
		SET(e, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
		SET(e, CURLOPT_NETRC_FILE, netrc);
	}
	SET(e, CURLOPT_HTTPAUTH, c->digest ? CURLAUTH_DIGEST : CURLAUTH_BASIC);
	if (e->context->options.cookies)
		SET(e, CURLOPT_COOKIEFILE, "");
	if (c->cert == NULL)
		return true;
	SET(e, CURLOPT_KEYPASSWD, ""); /* nobody is asked at a terminal */
	return set_blob(e, CURLOPT_SSLCERT_BLOB, c->cert) &&
	       set_blob(e, CURLOPT_SSLKEY_BLOB, c->key);
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
	SET(e, CURLOPT_DEBUGFUNCTION, on_told);
	SET(e, CURLOPT_DEBUGDATA, e);
	return true;
}

static bool set_always(struct easy *e)
{
	struct easy_context *c = e->context;
	SET(e, CURLOPT_NOSIGNAL, 1L);
	SET(e, CURLOPT_PROTOCOLS_STR, "http,https");
	SET(e, CURLOPT_FOLLOWLOCATION, 0L);
	SET(e, CURLOPT_PIPEWAIT, 1L);
	SET(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(e, CURLOPT_USERAGENT, "lacunafs/" LACUNAFS_VERSION);
	SET(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->options.connect_ms);
	SET(e, CURLOPT_TCP_KEEPALIVE, 1L);
	SET(e, CURLOPT_SHARE, c->share[e->exchange->trusted]);
	return c->credentials->ca == NULL || set_blob(e, CURLOPT_CAINFO_BLOB, c->credentials->ca);
}

static bool set_request(struct easy *e)
{
	const struct exchange *x = e->exchange;
	char range[48];
	bool tls = g_str_has_prefix(x->url, "https:");
	SET(e, CURLOPT_HTTP_VERSION, (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	if (x->head_only)
		SET(e, CURLOPT_NOBODY, 1L);
	if (x->ranged) {
		g_snprintf(range, sizeof(range), "%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT,
		           x->first, x->last);
		SET(e, CURLOPT_RANGE, range);
	}
	/* a small exchange does not get half a megabyte */
	SET(e, CURLOPT_BUFFERSIZE, x->ranged && x->last - x->first < SMALL ? SMALL : LARGE);
	return !x->trusted || set_trusted(e);
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

static bool set_headers(struct easy *e, GError **error)
{
	const struct exchange *x = e->exchange;
	const struct credentials *c = e->context->credentials;
	bool token = x->trusted && c->token.name != NULL;
	bool good = true;
	if (!token && x->accept == NULL && x->if_none_match == NULL &&
	    x->if_modified_since == NULL) {
		curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->context->headers[x->trusted]);
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

/* The secret in it is known here alone: no message shows it. */
static bool set_url(struct easy *e, GError **error)
{
	const struct exchange *x = e->exchange;
	const struct credentials *c = e->context->credentials;
	g_autofree char *whole = NULL;
	if (x->trusted && c->query.name != NULL && strchr(x->url, '?') == NULL) {
		g_autofree char *query = credentials_query(c, error);
		if (query == NULL)
			return false;
		whole = g_strconcat(x->url, "?", query, NULL);
	}
	return curl_easy_setopt(e->curl, CURLOPT_URL, whole != NULL ? whole : x->url) == CURLE_OK ||
	       out_of_memory(error);
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

/* libcurl's own words, but where they quote a URL: a proxy's may hold a password. */
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
	/* libcurl takes a head for whole where the connection closes in its middle */
	if (result == CURLE_OK && !x->head_seen)
		return g_error_new(FETCH_ERROR, FETCH_UNREACHABLE,
		                   "the connection was closed within the header of the answer");
	if (result == CURLE_OK) {
		excess_over(&e->excess, &x->error);
		return g_steal_pointer(&x->error);
	}
	/* its answer to a line of more than 100 KiB, too, of which it hands nothing on */
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
	bool set = e->curl != NULL && set_callbacks(e) && set_always(e) && set_request(e);
	if (set ? set_url(e, error) && set_headers(e, error) : out_of_memory(error))
		return e;
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
	/* what is encrypted has messages between its answers, too */
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
	return headers_common(&c->headers[0], c->credentials, false) &&
	       headers_common(&c->headers[1], c->credentials, true);
}

void easy_context_clear(struct easy_context *c)
{
	curl_slist_free_all(c->headers[0]);
	curl_slist_free_all(c->headers[1]);
	curl_share_cleanup(c->share[0]);
	curl_share_cleanup(c->share[1]);
}
