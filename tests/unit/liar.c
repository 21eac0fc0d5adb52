/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/liar.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct rule {
	char *match, *answer;
	unsigned left; /* 0 = always */
	enum liar_end end;
};

struct liar {
	int listener, over[2]; /* over: its read end is ready when all must end */
	unsigned port;
	pthread_t thread;
	pthread_mutex_t lock;
	GPtrArray *rules;         /* of struct rule, owned; under lock */
	GPtrArray *log;           /* of char, the requests' heads, owned; under lock */
	unsigned under_way, most; /* under lock */
	char *refusal;            /* owned; NULL: there is no limit; under lock */
	GArray *visitors;         /* of pthread_t; the accepting thread's */
};

struct visit {
	struct liar *liar;
	int fd;
};

/* Whether `fd` is ready; false where the end has come. */
static bool await(struct liar *l, int fd, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = l->over[0], .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	poll(fds, 2, timeout_ms);
	return fds[0].revents == 0;
}

static bool take_rule(struct liar *l, const char *head, enum liar_end *end, char **answer)
{
	pthread_mutex_lock(&l->lock);
	g_ptr_array_add(l->log, g_strdup(head));
	bool found = l->refusal != NULL && l->under_way > l->most;
	if (found) {
		*end = LIAR_KEEP;
		*answer = g_strdup(l->refusal);
		pthread_mutex_unlock(&l->lock);
		return true;
	}
	for (guint i = 0; !found && i < l->rules->len; i++) {
		struct rule *r = l->rules->pdata[i];
		found = strstr(head, r->match) != NULL;
		if (!found)
			continue;
		*end = r->end;
		*answer = g_strdup(r->answer);
		if (r->left > 0 && --r->left == 0)
			g_ptr_array_remove_index(l->rules, i);
	}
	pthread_mutex_unlock(&l->lock);
	return found;
}

static void send_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		text += sent;
		length -= (size_t)sent;
	}
}

static void send_drip(struct liar *l, int fd, const char *text)
{
	const char *body = strstr(text, "\r\n\r\n");
	size_t head = body != NULL ? (size_t)(body + 4 - text) : 0;
	send_all(fd, text, head);
	for (text += head; *text != '\0' && await(l, -1, 50); text++)
		send_all(fd, text, 1);
}

static void under_way_add(struct liar *l, int step)
{
	pthread_mutex_lock(&l->lock);
	l->under_way += (unsigned)step;
	pthread_mutex_unlock(&l->lock);
}

static bool is_limited(struct liar *l)
{
	pthread_mutex_lock(&l->lock);
	bool limited = l->refusal != NULL;
	pthread_mutex_unlock(&l->lock);
	return limited;
}

static bool answer(struct visit *v, const char *head)
{
	g_autofree char *text = NULL;
	enum liar_end end = LIAR_CUT;
	under_way_add(v->liar, 1);
	if (!take_rule(v->liar, head, &end, &text))
		text = g_strdup("HTTP/1.1 599 No Rule\r\nContent-Length: 0\r\n\r\n");
	if (end == LIAR_LATE)
		await(v->liar, -1, LIAR_LATE_MS);
	if (is_limited(v->liar))
		await(v->liar, -1, 20);
	under_way_add(v->liar, -1);
	if (end == LIAR_DRIP)
		send_drip(v->liar, v->fd, text);
	else
		send_all(v->fd, text, strlen(text));
	while (end == LIAR_STALL && await(v->liar, -1, -1))
		;
	return end == LIAR_KEEP || end == LIAR_LATE;
}

/* No GString: GLib keeps their memory for other threads, which the thread sanitizer cannot see. */
static void *visit_run(void *arg)
{
	struct visit *v = arg;
	size_t capacity = 4096, length = 0;
	char *head = g_malloc(capacity);
	ssize_t got = 1;
	bool more = true;
	while (more && await(v->liar, v->fd, -1) && got > 0) {
		if (capacity - length < 4096)
			head = g_realloc(head, capacity *= 2);
		got = recv(v->fd, head + length, capacity - length - 1, 0);
		if (got > 0)
			length += (size_t)got;
		head[length] = '\0';
		if (strstr(head, "\r\n\r\n") != NULL) {
			more = answer(v, head);
			length = 0;
		}
	}
	close(v->fd);
	g_free(head);
	g_free(v);
	return NULL;
}

static void *liar_run(void *arg)
{
	struct liar *l = arg;
	while (await(l, l->listener, -1)) {
		struct visit *v = g_new0(struct visit, 1);
		pthread_t thread;
		v->liar = l;
		v->fd = accept(l->listener, NULL, NULL);
		g_assert_cmpint(v->fd, >=, 0);
		g_assert_cmpint(pthread_create(&thread, NULL, visit_run, v), ==, 0);
		g_array_append_val(l->visitors, thread);
	}
	for (guint i = 0; i < l->visitors->len; i++)
		pthread_join(g_array_index(l->visitors, pthread_t, i), NULL);
	return NULL;
}

static void rule_free(gpointer p)
{
	struct rule *r = p;
	g_free(r->match);
	g_free(r->answer);
	g_free(r);
}

struct liar *liar_new(void)
{
	struct liar *l = g_new0(struct liar, 1);
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	l->listener = socket(AF_INET, SOCK_STREAM, 0);
	g_assert_cmpint(bind(l->listener, (struct sockaddr *)&address, size), ==, 0);
	g_assert_cmpint(listen(l->listener, 64), ==, 0);
	g_assert_cmpint(getsockname(l->listener, (struct sockaddr *)&address, &size), ==, 0);
	g_assert_cmpint(pipe(l->over), ==, 0);
	l->port = ntohs(address.sin_port);
	l->rules = g_ptr_array_new_with_free_func(rule_free);
	l->log = g_ptr_array_new_with_free_func(g_free);
	l->visitors = g_array_new(FALSE, FALSE, sizeof(pthread_t));
	pthread_mutex_init(&l->lock, NULL);
	g_assert_cmpint(pthread_create(&l->thread, NULL, liar_run, l), ==, 0);
	return l;
}

void liar_free(struct liar *l)
{
	close(l->over[1]);
	pthread_join(l->thread, NULL);
	close(l->over[0]);
	close(l->listener);
	g_ptr_array_unref(l->rules);
	g_ptr_array_unref(l->log);
	g_array_unref(l->visitors);
	g_free(l->refusal);
	pthread_mutex_destroy(&l->lock);
	g_free(l);
}

unsigned liar_port(const struct liar *l)
{
	return l->port;
}

void liar_tell(struct liar *l, const char *match, unsigned times, enum liar_end end,
               const char *answer)
{
	struct rule *r = g_new0(struct rule, 1);
	g_auto(GStrv) lines = g_strsplit(answer, "|", -1);
	r->match = g_strdup(match);
	r->answer = g_strjoinv("\r\n", lines);
	r->left = times;
	r->end = end;
	pthread_mutex_lock(&l->lock);
	g_ptr_array_add(l->rules, r);
	pthread_mutex_unlock(&l->lock);
}

void liar_limit(struct liar *l, unsigned most, const char *refusal)
{
	g_auto(GStrv) lines = g_strsplit(refusal, "|", -1);
	pthread_mutex_lock(&l->lock);
	l->most = most;
	g_free(l->refusal);
	l->refusal = g_strjoinv("\r\n", lines);
	pthread_mutex_unlock(&l->lock);
}

unsigned liar_count(struct liar *l, const char *text)
{
	unsigned count = 0;
	pthread_mutex_lock(&l->lock);
	for (guint i = 0; i < l->log->len; i++)
		count += strstr(l->log->pdata[i], text) != NULL;
	pthread_mutex_unlock(&l->lock);
	return count;
}
