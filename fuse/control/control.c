/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/rendezvous.h"
#include "fuse/control/control_private.h"
#include "fuse/control/wire.h"
#include "fuse/events/registry.h"
#include "fuse/inode/server.h"
#include "lacuna/control.h"

enum { PARTING_MS = 1000, REFUSED_MS = 20 };

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
	g_autoptr(GByteArray) line = client->handler ? NULL : wire_receive(client->fd);
	if (client->handler) {
		handler_serve(client->handler);
	} else if (!line) {
		wire_refuse(client->fd, "expects one line");
		wire_hang_up(client->fd, PARTING_MS);
	} else if (!request_parse((const char *)line->data, line->len, &request, &error)) {
		wire_refuse(client->fd, error->message);
	} else {
		client_answer(client, &request);
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

static bool client_run(struct control *c, struct control_client *client, int fd,
                       struct handler *handler)
{
	mutex_lock(&c->lock);
	client->fd = fd;
	client->handler = handler;
	client->attached = handler != NULL;
	client->used = pthread_create(&client->thread, NULL, client_main, client) == 0;
	if (!client->used)
		client->fd = -1;
	bool runs = client->used;
	mutex_unlock(&c->lock);
	return runs;
}

/* The handlers of the worker before this one go on; there are no more than there are places. */
static void handlers_adopt(struct control *c)
{
	int fd;
	struct handler *h;
	while ((h = registry_unserved(c->server->handlers, &fd))) {
		struct control_client *client = client_slot(c);
		if (!client || !client_run(c, client, fd, h))
			g_error("cannot start a thread");
	}
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
	if (!client_run(c, client, fd, NULL))
		close(fd);
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
	struct stat st = {0};
	c->wake = eventfd(0, EFD_CLOEXEC);
	if (c->listener < 0)
		c->listener = rendezvous_listen(&c->address, CLIENTS_MAX);
	if (c->listener < 0 || c->wake < 0) {
		g_set_error(error, LOCAL_ERROR, errno, "control socket %s: %s", c->address.sun_path,
		            g_strerror(errno));
		return false;
	}
	if (lstat(c->address.sun_path, &st) == 0) {
		c->dev = st.st_dev;
		c->ino = st.st_ino;
	}
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
                            int listener, GError **error)
{
	g_autofree char *directory = rendezvous_directory(server->uid, true, error);
	if (!directory)
		return NULL;
	struct control *c = g_new0(struct control, 1);
	c->server = server;
	c->listener = listener;
	c->wake = -1;
	mutex_init(&c->lock, RANK_CONTROL);
	rendezvous_address(directory, dev_major, dev_minor, &c->address);
	if (!control_bind(c, error)) {
		control_close(c);
		return NULL;
	}
	handlers_adopt(c);
	int code = listener_start(c);
	if (code) {
		g_set_error(error, LOCAL_ERROR, code, "control thread: %s", g_strerror(code));
		control_close(c);
		return NULL;
	}
	return c;
}

int control_listener(const struct control *c)
{
	return c->listener;
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
