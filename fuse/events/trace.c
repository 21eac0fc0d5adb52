/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/events/trace.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fuse/base/json.h"

struct tracer {
	int fd;
	uint64_t missed; /* lines */
};

struct tracers {
	struct mutex lock;
	GList *list;    /* of struct tracer, on their threads' stacks */
	unsigned count; /* atomic: of these */
};

struct tracers *tracers_new(void)
{
	struct tracers *t = g_new0(struct tracers, 1);
	mutex_init(&t->lock, RANK_TRACE);
	return t;
}

void tracers_free(struct tracers *t)
{
	if (!t)
		return;
	mutex_destroy(&t->lock);
	g_free(t);
}

bool tracers_any(const struct tracers *t)
{
	return __atomic_load_n(&t->count, __ATOMIC_ACQUIRE) > 0;
}

static const char *operation_name(uint32_t operation)
{
	static const char *const names[] = {
	        [LACUNA_READ] = "read",         [LACUNA_WRITE] = "write",
	        [LACUNA_TRUNCATE] = "truncate", [LACUNA_EXEC] = "exec",
	        [LACUNA_FAULT] = "fault",       [LACUNA_FILL] = "fill",
	        [LACUNA_ALLOCATE] = "allocate",
	};
	return operation < G_N_ELEMENTS(names) && names[operation] ? names[operation] : "unknown";
}

static const char *verdict_name(const struct event *e)
{
	static const char *const names[] = {
	        [VERDICT_ALLOW] = "allow",
	        [VERDICT_FETCH] = "fetch",
	        [VERDICT_DENY] = "deny",
	        [VERDICT_CANCEL] = "cancel",
	};
	return e->unasked ? "source" : names[e->verdict];
}

static char *event_line(const struct event *e, int error, gsize *length)
{
	const struct lacuna_event *m = e->message;
	g_autofree char *path = g_strndup(m->path, m->path_length);
	g_autoptr(JsonBuilder) b = json_builder_new();
	json_builder_begin_object(b);
	json_add_time(b, "time", clock_realtime());
	json_add_int(b, "id", m->header.id);
	json_add_process(b, (pid_t)m->pid);
	json_add_int(b, "tid", m->tid);
	json_add_int(b, "uid", m->uid);
	json_add_text(b, "operation", operation_name(m->operation));
	json_add_text(b, "path", path);
	json_add_int(b, "offset", m->offset);
	json_add_int(b, "length", m->length);
	json_add_text(b, "mode", e->every ? "every" : "holes");
	json_add_text(b, "verdict", verdict_name(e));
	json_add_int(b, "errno", (uint64_t)error);
	json_add_int(b, "microseconds", (uint64_t)(clock_now() - e->since_ns) / 1000);
	json_builder_end_object(b);
	return json_line(b, length);
}

static void tell_locked(struct tracer *t, const char *line, size_t length)
{
	char missed[64];
	int n = snprintf(missed, sizeof missed, "{\"missed\":%" G_GUINT64_FORMAT "}\n", t->missed);
	if (t->missed && send(t->fd, missed, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n)
		t->missed = 0;
	if (t->missed || send(t->fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		t->missed++;
}

void tracers_tell(struct tracers *t, const struct event *e, int error)
{
	if (!tracers_any(t) || !e->message)
		return;
	gsize length;
	g_autofree char *line = event_line(e, error, &length);
	mutex_lock(&t->lock);
	for (GList *l = t->list; l; l = l->next)
		tell_locked(l->data, line, length);
	mutex_unlock(&t->lock);
}

void tracer_serve(struct tracers *t, int fd)
{
	struct tracer tracer = {.fd = fd};
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};
	mutex_lock(&t->lock);
	t->list = g_list_prepend(t->list, &tracer);
	__atomic_add_fetch(&t->count, 1, __ATOMIC_RELEASE);
	mutex_unlock(&t->lock);
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	mutex_lock(&t->lock);
	t->list = g_list_remove(t->list, &tracer);
	__atomic_sub_fetch(&t->count, 1, __ATOMIC_RELEASE);
	mutex_unlock(&t->lock);
}
