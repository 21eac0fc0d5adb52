/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fuse/base/json.h"
#include "fuse/base/rendezvous.h"
#include "fuse/control/control.h"
#include "fuse/control/filler.h"
#include "fuse/control/report.h"
#include "fuse/control/request.h"
#include "fuse/control/verifier.h"
#include "fuse/control/wire.h"
#include "fuse/events/registry.h"
#include "fuse/events/trace.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/server.h"
#include "fuse/ops/evict.h"
#include "fuse/ops/leaving.h"
#include "lacuna/control.h"

enum { CLIENTS_MAX = 32, HANDLERS_MAX = 24, PARTING_MS = 1000, REFUSED_MS = 20 };

struct control_client {
	struct control *control;
	pthread_t thread;
	int fd;        /* the client's thread closes it, under the lock; then -1 */
	bool used;     /* thread is to be joined; under the lock */
	bool finished; /* thread is about to return; under the lock */
	bool attached; /* a handler; under the lock */
};

struct control {
	struct server *server; /* borrowed */
	struct sockaddr_un address;
	dev_t dev; /* of the socket file, so that only our own is removed */
	ino_t ino;
	int listener, wake;
	atomic_bool stopping;
	pthread_t thread;
	struct mutex lock;
	struct control_client clients[CLIENTS_MAX];
};

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

static void leave_run(struct control_client *client, const struct request *r,
                      void (*leave)(struct server *s, struct inode *i, struct leaving *out))
{
	static const struct leaving_ops ops = {.line = leaving_line, .wanted = fill_wanted};
	leaving_run(client->control->server, (const uint64_t *)(void *)r->inos->data, r->inos->len,
	            leave, &ops, client);
}

/* As many handlers as leave room for other clients. */
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
	struct handler *h =
	        registry_attach(client->control->server->handlers, &o, client->fd, &inherited);
	if (!h) {
		attach_refuse(client, EBUSY, "a handler of that name is attached");
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

static void answer(struct control_client *client, const struct request *r)
{
	static const struct filler_ops ops = {.line = fill_line, .wanted = fill_wanted};
	static const struct verifier_ops verify = {.line = verify_line, .wanted = fill_wanted};
	struct server *server = client->control->server;
	g_autoptr(JsonBuilder) b = json_builder_new();
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
	case REQUEST_VERIFY:
		verifier_run(server, r->repair, r->bytes, &verify, client);
		return;
	case REQUEST_TRACE:
		tracer_serve(server->tracers, client->fd);
		return;
	}
}

static bool peer_allowed(const struct control *c, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == c->server->uid);
}

static void *client_main(void *data)
{
	struct control_client *client = data;
	struct control *c = client->control;
	g_autoptr(GError) error = NULL;
	struct request request;
	g_autoptr(GByteArray) line = wire_receive(client->fd);
	if (!line) {
		wire_refuse(client->fd, "expects one line");
		wire_hang_up(client->fd, PARTING_MS);
	} else if (!request_parse((const char *)line->data, line->len, &request, &error)) {
		wire_refuse(client->fd, error->message);
	} else {
		request_translate(c->server, &request);
		answer(client, &request);
		request_clear(&request);
	}
	mutex_lock(&c->lock);
	close(client->fd);
	client->fd = -1;
	client->finished = true;
	mutex_unlock(&c->lock);
	return NULL;
}

/* A free slot, its last thread joined; NULL: all are busy. */
static struct control_client *client_slot(struct control *c)
{
	struct control_client *found = NULL;
	bool join = false;
	mutex_lock(&c->lock);
	for (unsigned i = 0; i < CLIENTS_MAX && !found; i++) {
		struct control_client *client = &c->clients[i];
		if (client->used && !client->finished)
			continue;
		found = client;
		join = client->used;
	}
	mutex_unlock(&c->lock);
	if (join)
		pthread_join(found->thread, NULL);
	mutex_lock(&c->lock); /* clients that attach count the slots */
	if (found)
		*found = (struct control_client){.control = c, .fd = -1};
	mutex_unlock(&c->lock);
	return found;
}

static void client_start(struct control *c, int fd)
{
	const struct timeval patience = {.tv_sec = WIRE_PATIENCE_MS / 1000};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!peer_allowed(c, fd)) {
		wire_refuse(fd, "only the owner of the mount and root are answered");
		wire_hang_up(fd, REFUSED_MS);
		close(fd);
		return;
	}
	struct control_client *client = client_slot(c);
	if (!client) {
		wire_refuse(fd, "too many clients");
		wire_hang_up(fd, REFUSED_MS);
		close(fd);
		return;
	}
	mutex_lock(&c->lock);
	client->fd = fd;
	client->used = pthread_create(&client->thread, NULL, client_main, client) == 0;
	if (!client->used) {
		close(fd);
		client->fd = -1;
	}
	mutex_unlock(&c->lock);
}

static void *listener_main(void *data)
{
	struct control *c = data;
	while (!atomic_load(&c->stopping)) {
		struct pollfd p[2] = {{.fd = c->listener, .events = POLLIN},
		                      {.fd = c->wake, .events = POLLIN}};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (!p[0].revents || atomic_load(&c->stopping))
			continue;
		int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			client_start(c, fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			g_usleep(100000); /* the connection stays in the queue: do not spin on it */
	}
	return NULL;
}

static bool control_bind(struct control *c, GError **error)
{
	struct stat st;
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->wake = eventfd(0, EFD_CLOEXEC);
	/* the device number is ours while mounted: another socket of that name is dead */
	unlink(c->address.sun_path);
	if (c->listener < 0 || c->wake < 0 ||
	    bind(c->listener, (struct sockaddr *)&c->address, sizeof(c->address)) != 0 ||
	    chmod(c->address.sun_path, 0600) != 0 || lstat(c->address.sun_path, &st) != 0 ||
	    listen(c->listener, CLIENTS_MAX) != 0) {
		g_set_error(error, LOCAL_ERROR, errno, "control socket %s: %s", c->address.sun_path,
		            g_strerror(errno));
		return false;
	}
	c->dev = st.st_dev;
	c->ino = st.st_ino;
	return true;
}

/* Signals are for the thread that waits for them. */
static int listener_start(struct control *c)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&c->thread, NULL, listener_main, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void control_close(struct control *c)
{
	struct stat st;
	if (c->ino && lstat(c->address.sun_path, &st) == 0 && st.st_dev == c->dev &&
	    st.st_ino == c->ino)
		unlink(c->address.sun_path);
	if (c->listener >= 0)
		close(c->listener);
	if (c->wake >= 0)
		close(c->wake);
	mutex_destroy(&c->lock);
	g_free(c);
}

struct control *control_new(struct server *server, unsigned dev_major, unsigned dev_minor,
                            GError **error)
{
	g_autofree char *directory = rendezvous_directory(server->uid, true, error);
	if (!directory)
		return NULL;
	struct control *c = g_new0(struct control, 1);
	c->server = server;
	c->listener = c->wake = -1;
	mutex_init(&c->lock, RANK_CONTROL);
	rendezvous_address(directory, dev_major, dev_minor, &c->address);
	if (!control_bind(c, error)) {
		control_close(c);
		return NULL;
	}
	int code = listener_start(c);
	if (code) {
		g_set_error(error, LOCAL_ERROR, code, "control thread: %s", g_strerror(code));
		control_close(c);
		return NULL;
	}
	return c;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	uint64_t one = 1;
	atomic_store(&c->stopping, true);
	if (write(c->wake, &one, sizeof(one)) != sizeof(one))
		g_warning("control: cannot wake the listener: %s", g_strerror(errno));
	pthread_join(c->thread, NULL);
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		struct control_client *client = &c->clients[i];
		mutex_lock(&c->lock);
		if (client->fd >= 0)
			shutdown(client->fd, SHUT_RDWR);
		mutex_unlock(&c->lock);
		if (client->used)
			pthread_join(client->thread, NULL);
	}
	control_close(c);
}
