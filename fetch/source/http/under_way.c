/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/transport_private.h"
#include <errno.h>
#include <string.h>
#include "fetch/base/pool.h"

#define STREAMS 100u       /* under way at once where HTTP/2 is spoken */
#define SWEEP_NS 100000000 /* how often deadlines are checked */
#define SECOND_NS 1000000000

void exchange_finish(struct exchange *x, GError *error)
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

void exchange_start(struct transport *t, struct exchange *x)
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

/* Takes the exchanges for the server of `x` out of the queue. */
static struct exchange *queue_take_same(struct transport *t, const struct exchange *x)
{
	struct exchange *taken = NULL, **taken_end = &taken, **at = &t->queue;
	mutex_lock(&t->lock);
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
	mutex_unlock(&t->lock);
	return taken;
}

/* If no connection to a server could be made, and no data arrived from any other, its queued
 * exchanges fail, too: each in turn would wait for as long again. */
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

void exchange_end(struct transport *t, struct exchange *x, GError *error)
{
	curl_multi_remove_handle(t->multi, easy_handle(x->easy));
	exchange_unlink(t, x);
	g_clear_pointer(&x->easy, easy_free);
	queue_share(t, x, error);
	exchange_finish(x, error);
}

int64_t transport_next_sweep(const struct transport *t)
{
	return t->sweep_ns + SWEEP_NS;
}

/* ---- results and deadlines ---- */

static void pace_set(struct transport *t, unsigned before)
{
	unsigned allowed = pace_allowed(&t->pace);
	if (allowed == before)
		return;
	/* these limits include idle connections */
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

void transport_reap(struct transport *t)
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

void transport_sweep(struct transport *t)
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

/* The next exchange to resume. */
static struct exchange *resume_next(struct transport *t)
{
	mutex_lock(&t->lock);
	struct exchange *x = t->resuming ? t->under_way : NULL;
	while (x != NULL && !x->resume)
		x = x->next;
	if (x != NULL)
		x->resume = false;
	else
		t->resuming = false;
	mutex_unlock(&t->lock);
	return x;
}

void transport_go_on(struct transport *t)
{
	struct exchange *x;
	while ((x = resume_next(t)) != NULL) {
		if (!x->held)
			continue;
		x->held = false;
		exchange_excuse(x, clock_now());
		/* passes the data that libcurl has kept to body() */
		CURLcode result = curl_easy_pause(easy_handle(x->easy), CURLPAUSE_CONT);
		if (result != CURLE_OK)
			exchange_end(t, x, easy_error(x->easy, result));
	}
}
