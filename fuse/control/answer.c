/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <poll.h>
#include "fuse/base/area.h"
#include "fuse/base/json.h"
#include "fuse/control/control_private.h"
#include "fuse/control/filler.h"
#include "fuse/control/metrics.h"
#include "fuse/control/report.h"
#include "fuse/control/verifier.h"
#include "fuse/control/wire.h"
#include "fuse/events/registry.h"
#include "fuse/events/trace.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/server.h"
#include "fuse/keeper/keeping.h"
#include "fuse/evict/evict.h"
#include "fuse/evict/leaving.h"
#include "fuse/evict/pin.h"

enum { HANDLERS_MAX = 24 };

static JsonBuilder *line_begin(const struct control_client *client, uint64_t ino, uint64_t bytes)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	if (ino) {
		char text[24];
		g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT,
		           numbers_shown(client->control->server->numbers, ino));
		json_add_text(b, "ino", text);
	}
	json_add_int(b, "bytes", bytes);
	return b;
}

static bool line_end(struct control_client *client, JsonBuilder *b, int error, const char *cause)
{
	if (error) {
		json_add_int(b, "errno", (uint64_t)error);
		json_add_text(b, "error", cause ? cause : g_strerror(error));
	}
	json_builder_end_object(b);
	return wire_send(client->fd, b);
}

static bool fill_line(void *user, const struct filler_line *line)
{
	g_autoptr(JsonBuilder) b = line_begin(user, line->ino, line->bytes);
	json_add_int(b, "fetched", line->fetched);
	return line_end(user, b, line->error, line->cause);
}

static bool fill_wanted(void *user)
{
	struct control_client *client = user;
	struct pollfd p = {.fd = client->fd, .events = 0};
	return !atomic_load(&client->control->stopping) &&
	       !(poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)));
}

static void metrics_answer(struct control_client *client)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	GString *text = metrics_text(client->control->server);
	json_builder_begin_object(b);
	json_add_text(b, "openmetrics", text->str);
	json_builder_end_object(b);
	wire_send(client->fd, b);
	g_string_free(text, TRUE);
}

static bool verify_line(void *user, JsonBuilder *b)
{
	return wire_send(((struct control_client *)user)->fd, b);
}

static bool leaving_line(void *user, uint64_t ino, const struct leaving *out)
{
	g_autoptr(JsonBuilder) b = line_begin(user, ino, out->bytes);
	json_add_bool(b, "newer", out->newer);
	return line_end(user, b, out->error, out->cause);
}

static bool pin_line(void *user, uint64_t ino, const char *path, bool known)
{
	struct control_client *client = user;
	g_autoptr(JsonBuilder) b = line_begin(client, ino, 0);
	json_add_text(b, "path", path);
	json_add_bool(b, "known", known);
	return line_end(client, b, 0, NULL) && fill_wanted(client);
}

static void leave_run(struct control_client *client, const struct request *r,
                      void (*leave)(struct server *s, struct inode *i, struct leaving *out))
{
	static const struct leaving_ops ops = {.line = leaving_line, .wanted = fill_wanted};
	leaving_run(client->control->server, (const uint64_t *)(void *)r->inos->data, r->inos->len,
	            leave, &ops, client);
}

/* As many handlers as leave connections for other clients. */
static bool handlers_full(struct control *c)
{
	unsigned attached = 0;
	mutex_lock(&c->lock);
	for (unsigned n = 0; n < CLIENTS_MAX; n++)
		attached += c->clients[n].attached && !c->clients[n].finished;
	mutex_unlock(&c->lock);
	return attached >= HANDLERS_MAX;
}

static void attach_refuse(struct control_client *client, int error, const char *why)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	json_builder_begin_object(b);
	line_end(client, b, error, why);
}

static void attach(struct control_client *client, const struct request *r)
{
	const struct handler_options o = {
	        .every = r->every, .content = r->content, .backlog = r->backlog, .name = r->name};
	if (handlers_full(client->control)) {
		attach_refuse(client, EAGAIN, "too many handlers");
		return;
	}
	bool inherited;
	int err;
	struct handler *h = registry_attach(client->control->server->handlers, &o, client->fd,
	                                    &inherited, &err);
	if (!h) {
		attach_refuse(client, err,
		              err == EBUSY ? "a handler of that name is attached"
		                           : "too many lost handlers: dismiss some");
		return;
	}
	mutex_lock(&client->control->lock);
	client->attached = true;
	mutex_unlock(&client->control->lock);
	g_autoptr(JsonBuilder) b = json_builder_new();
	json_builder_begin_object(b);
	json_add_int(b, "attached", LACUNA_PRECONTENT_VERSION);
	json_add_bool(b, "inherited", inherited);
	json_builder_end_object(b);
	wire_send(client->fd, b);
	handler_serve(h);
}

/* Clients send the st_ino that they see. */
static void request_translate(struct server *s, struct request *r)
{
	r->ino = numbers_inner(s->numbers, r->ino);
	for (unsigned n = 0; r->inos && n < r->inos->len; n++) {
		uint64_t *ino = &g_array_index(r->inos, uint64_t, n);
		*ino = numbers_inner(s->numbers, *ino);
	}
}

void client_answer(struct control_client *client, struct request *r)
{
	static const struct filler_ops ops = {.line = fill_line, .wanted = fill_wanted};
	static const struct verifier_ops verify = {.line = verify_line, .wanted = fill_wanted};
	struct server *server = client->control->server;
	g_autoptr(JsonBuilder) b = json_builder_new();
	request_translate(server, r);
	switch (r->verb) {
	case REQUEST_STATUS:
		report_mount(server, b);
		wire_send(client->fd, b);
		return;
	case REQUEST_FILE:
		if (report_file(server, r->ino, r->bar, b))
			wire_send(client->fd, b);
		else
			wire_refuse(client->fd, "no such file is known to the mount");
		return;
	case REQUEST_FILL:
		filler_run(server, (const uint64_t *)(void *)r->inos->data, r->inos->len, &ops,
		           client);
		return;
	case REQUEST_EVICT:
		leave_run(client, r, evict_file);
		return;
	case REQUEST_PIN:
		leave_run(client, r, pin_file);
		return;
	case REQUEST_UNPIN:
		leave_run(client, r, unpin_file);
		return;
	case REQUEST_PINS:
		pin_list(&(struct pin_list){server, pin_line, client});
		return;
	case REQUEST_REFRESH:
		leave_run(client, r, refresh_file);
		return;
	case REQUEST_ATTACH:
		attach(client, r);
		return;
	case REQUEST_DISMISS:
		json_builder_begin_object(b);
		json_add_int(b, "dismissed", registry_dismiss(server->handlers, r->name));
		json_builder_end_object(b);
		wire_send(client->fd, b);
		return;
	case REQUEST_METRICS:
		metrics_answer(client);
		return;
	case REQUEST_UPGRADE:
		if (!keeping_upgrade(server->keeping, client->fd))
			wire_refuse(client->fd, server->area->kept
			                                ? "that needs Linux 6.9"
			                                : "it has no keeper (-o keeper=no)");
		return;
	case REQUEST_VERIFY:
		verifier_run(server, r->repair, r->bytes, &verify, client);
		return;
	case REQUEST_TRACE:
		tracer_serve(server->tracers, client->fd);
		return;
	}
}
