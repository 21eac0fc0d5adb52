/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One handler's connection: events out, answers and marks in. Its messages are untrusted: each is
 * checked, and one that violates lacuna/precontent.h ends the connection. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fetch/source/wrap/supplied.h"
#include "fuse/events/commits.h"
#include "fuse/events/kept.h"
#include "fuse/events/registry_private.h"
#include "fuse/inode/numbers.h"
#include "fuse/inode/server.h"

/* Too many descriptors are on their way to handlers: the kernel takes more when some are read. */
#define AGAIN_MS 5
/* Between two looks at a message that comes in pieces */
#define PIECE_US 1000
/* How long a scratch file is tried for before events are denied for lack of one */
#define LACKS_NS INT64_C(1000000000)
/* Postponed marks */
#define POSTPONED_MAX 1024

/* Sends a message and its descriptor, whole or not at all: it is one packet's worth of a stream. */
static bool message_send(int socket, const void *message, int fd)
{
	struct iovec io = {(void *)message, ((const struct lacuna_message *)message)->length};
	union {
		char data[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
	if (fd >= 0) {
		m.msg_control = control.data;
		m.msg_controllen = sizeof control.data;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
		                      .cmsg_type = SCM_RIGHTS,
		                      .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* A content handler supplies no data: its descriptor is read-only. */
static int reopened(int fd)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool event_send(struct handler *h, struct event *e)
{
	if (e->fd < 0)
		return false;
	if (h->content && !e->supplied)
		e->supplied = supplied_list(e->fd, e->message->size);
	int fd = h->content ? reopened(e->fd) : e->fd;
	bool sent = fd >= 0 && message_send(h->fd, e->message, fd);
	if (h->content && fd >= 0)
		close(fd);
	return sent;
}

/* The first unsent event, if it lacks its file; its number in *id. */
static struct event *lacking_locked(struct handler *h, uint64_t *id, uint64_t *size)
        REQUIRES(h->all->lock)
{
	struct event *e = g_queue_peek_head(&h->unsent);
	if (!e || e->fd >= 0)
		return NULL;
	*id = e->message->header.id;
	*size = e->message->size;
	return e;
}

/* On the handler's thread, the only one that sends events without a scratch file from the start:
 * without the lock, since the disk may stall. The event may be withdrawn meanwhile. false: none can
 * be made. */
static bool scratch_supply_locked(struct handler *h) REQUIRES(h->all->lock)
{
	uint64_t id, size, now_id, now_size;
	if (!lacking_locked(h, &id, &size))
		return true;
	mutex_unlock(&h->all->lock);
	int fd = store_scratch(h->all->server->store, size);
	mutex_lock(&h->all->lock);
	struct event *e = lacking_locked(h, &now_id, &now_size);
	if (fd < 0 && h->lacks_ns == 0)
		h->lacks_ns = clock_now();
	h->lacks_error = -MIN(fd, 0);
	if (fd < 0)
		return false;
	h->lacks_ns = 0;
	if (e && now_id == id)
		e->fd = fd;
	else
		close(fd);
	return true;
}

bool handler_send_locked(struct handler *h)
{
	bool all = false;
	while (scratch_supply_locked(h) && !(all = handler_flush_locked(h)) &&
	       !g_queue_is_empty(&h->unsent) &&
	       ((struct event *)g_queue_peek_head(&h->unsent))->fd < 0)
		;
	return all;
}

bool handler_flush_locked(struct handler *h)
{
	GList *link;
	while ((link = h->unsent.head) && h->sent.length < IN_FLIGHT_MAX) {
		struct event *e = link->data;
		if (!event_send(h, e))
			return false;
		e->until_ns = clock_now() + (int64_t)h->all->server->settings->handler_ms * 1000000;
		g_queue_unlink(&h->unsent, link);
		g_queue_push_tail_link(&h->sent, link);
	}
	return true;
}

/* Sends the result of a handler's message. A handler that reads no result in the time it has for an
 * event is lost. */
static void result_send(struct handler *h, uint64_t id, int error)
{
	const struct lacuna_result r = {
	        .header = {.length = sizeof r, .type = LACUNA_RESULT, .id = id},
	        .error = (uint32_t)error,
	};
	struct pollfd p = {.fd = h->fd, .events = POLLOUT};
	if (message_send(h->fd, &r, -1) || errno != EAGAIN)
		return;
	if (poll(&p, 1, (int)h->all->server->settings->handler_ms) <= 0 ||
	    !message_send(h->fd, &r, -1))
		shutdown(h->fd, SHUT_RDWR);
}

/* false: data supplied before must be committed first, and is not yet. */
static bool mark_try(struct handler *h, const struct lacuna_mark *m)
{
	uint64_t ino = numbers_inner(h->all->server->numbers, m->ino);
	bool fewer = m->flags == LACUNA_MARK_FLUSH ||
	             !(m->flags & LACUNA_MARK_IGNORE) != !(m->flags & LACUNA_MARK_REMOVE);
	int err = !fewer                         ? 0
	          : m->scope == LACUNA_MARK_FILE ? commits_state(h->all->commits, ino)
	          : commits_any(h->all->commits) ? EINPROGRESS
	                                         : 0;
	if (err == EINPROGRESS)
		return false;
	if (err == 0) {
		mutex_lock(&h->all->lock);
		err = marks_set(h->marks, m->scope, m->flags, ino,
		                registry_marks_full_locked(h->all));
		if (err == 0)
			kept_mark(h, m->scope, m->flags, ino);
		mutex_unlock(&h->all->lock);
	}
	result_send(h, m->header.id, err);
	return true;
}

/* In their order. A commit may wait for an answer of this handler: its thread listens meanwhile. */
static void marks_take(struct handler *h)
{
	struct lacuna_mark *m;
	mutex_lock(&h->all->lock);
	h->postpones = !g_queue_is_empty(&h->postponed);
	mutex_unlock(&h->all->lock);
	while ((m = g_queue_peek_head(&h->postponed)) && mark_try(h, m))
		g_free(g_queue_pop_head(&h->postponed));
}

static void mark(struct handler *h, const struct lacuna_mark *m)
{
	if (h->postponed.length >= POSTPONED_MAX)
		result_send(h, m->header.id, EAGAIN);
	else
		g_queue_push_tail(&h->postponed, g_memdup2(m, sizeof *m));
	marks_take(h);
}

/* false: the connection is over. */
static bool message_take(struct handler *h, const struct lacuna_message *m)
{
	int err;
	if (m->type == LACUNA_ANSWER && m->length == sizeof(struct lacuna_answer)) {
		err = handler_answer(h, (const struct lacuna_answer *)m);
		if (err)
			result_send(h, m->id, err);
		return true;
	}
	if (m->type == LACUNA_MARK && m->length == sizeof(struct lacuna_mark)) {
		mark(h, (const struct lacuna_mark *)m);
		return true;
	}
	h->leaves = m->type == LACUNA_DETACH && m->length == sizeof(struct lacuna_message);
	if (!h->leaves)
		result_send(h, 0, EPROTO);
	return false;
}

/* Takes the complete messages; *taken: their bytes. */
static bool messages_take(struct handler *h, const uint8_t *buffer, size_t length, size_t *taken)
{
	size_t at = 0;
	struct lacuna_message m;
	while (length - at >= sizeof m) {
		memcpy(&m, buffer + at, sizeof m);
		if (m.length < sizeof m || m.length > LACUNA_MESSAGE_MAX) {
			result_send(h, 0, EPROTO);
			return false;
		}
		if (length - at < m.length)
			break;
		uint64_t aligned[LACUNA_MESSAGE_MAX / sizeof(uint64_t)];
		memcpy(aligned, buffer + at, m.length);
		at += m.length;
		if (!message_take(h, (const struct lacuna_message *)aligned))
			return false;
	}
	*taken = at;
	return true;
}

/* Reads messages; false: the connection is over. They leave the socket once they have been worked
 * off: if the worker dies, the next one reads them. */
static bool messages_read(struct handler *h)
{
	uint8_t buffer[2 * LACUNA_MESSAGE_MAX];
	ssize_t n = recv(h->fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_PEEK);
	size_t taken = 0;
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (!messages_take(h, buffer, (size_t)n, &taken))
		return false;
	struct pollfd p = {.fd = h->fd, .events = POLLRDHUP};
	if (taken == 0 && poll(&p, 1, 0) > 0)
		return false; /* the rest of a message will not come */
	if (taken == 0)
		usleep(PIECE_US); /* poll(2) would not wait for the rest of a message */
	return taken == 0 || recv(h->fd, buffer, taken, MSG_DONTWAIT) == (ssize_t)taken;
}

/* Until the first answer is due, or may be due for events that other threads send meanwhile: they
 * do not wake this one. */
static int time_left(struct handler *h, bool blocked)
{
	int64_t most = MIN(1000, h->all->server->settings->handler_ms);
	mutex_lock(&h->all->lock);
	const struct event *e = g_queue_peek_head(&h->sent);
	int64_t left = e ? (e->until_ns - clock_now()) / 1000000 + 1 : most;
	mutex_unlock(&h->all->lock);
	return blocked ? AGAIN_MS : (int)CLAMP(left, 0, most);
}

/* `heard_ns`: all that the handler had sent by then was looked at. A handler that never stops
 * sending is late after twice the time. */
static bool late(struct handler *h, int64_t heard_ns)
{
	int64_t more = (int64_t)h->all->server->settings->handler_ms * 1000000;
	mutex_lock(&h->all->lock);
	const struct event *e = g_queue_peek_head(&h->sent);
	bool is = e && (e->until_ns <= heard_ns || e->until_ns + more <= clock_now());
	if (is)
		g_warning("handler \"%s\" (pid %d) has not answered event %" G_GUINT64_FORMAT
		          " of /%.*s in time, and counts as lost",
		          h->name, (int)h->pid, e->message->header.id, (int)e->message->path_length,
		          e->message->path);
	mutex_unlock(&h->all->lock);
	return is;
}

/* Denies events that cannot be sent for lack of a scratch file: no descriptor, no space. */
static void unsendable_end(struct handler *h)
{
	struct registry *all = h->all;
	struct event *e;
	do {
		mutex_lock(&all->lock);
		e = h->lacks_ns && clock_now() - h->lacks_ns > LACKS_NS
		            ? g_queue_peek_head(&h->unsent)
		            : NULL;
		int err = h->lacks_error;
		if (e) {
			g_queue_unlink(&h->unsent, &e->link);
			e->with = NULL;
			h->denied++;
		}
		mutex_unlock(&all->lock);
		if (!e)
			return;
		g_warning("handler \"%s\" is not asked for /%.*s: no scratch file: %s", h->name,
		          (int)e->message->path_length, e->message->path, g_strerror(err));
		bool full = err == ENOSPC || err == EDQUOT;
		event_end(all, &(struct ended){e, VERDICT_DENY, full ? err : EIO});
	} while (e);
}

static void converse(struct handler *h)
{
	uint64_t count;
	int64_t heard_ns = 0;
	while (!late(h, heard_ns)) {
		marks_take(h);
		mutex_lock(&h->all->lock);
		bool blocked = !handler_send_locked(h);
		mutex_unlock(&h->all->lock);
		if (blocked)
			unsendable_end(h);
		struct pollfd p[2] = {{.fd = h->fd, .events = POLLIN},
		                      {.fd = h->wake, .events = POLLIN}};
		int64_t now = clock_now();
		if (poll(p, 2, time_left(h, blocked)) < 0 && errno != EINTR)
			return;
		if (p[1].revents && read(h->wake, &count, sizeof count) < 0)
			g_debug("handlers: woken by nobody");
		if (!p[0].revents) {
			heard_ns = now;
			continue;
		}
		if (!messages_read(h))
			return;
	}
}

static void handler_stop(struct handler *h)
{
	struct registry *all = h->all;
	enum handler_lost policy = all->server->settings->handler_lost;
	mutex_lock(&h->all->lock);
	bool leaves = h->leaves || h->dismissed;
	bool stays = !leaves && policy != HANDLER_LOST_SOURCE && marks_count(h->marks) > 0;
	h->serving = h->postpones = false;
	if (stays) /* before the handler learns it: the next worker must know it, too */
		kept_lost(h);
	else
		kept_drop(h);
	shutdown(h->fd, SHUT_RDWR); /* leaving may take a moment */
	h->draining = !stays;
	h->fd = -1;
	if (h->wake >= 0)
		close(h->wake);
	h->wake = -1;
	condition_broadcast(&all->changed);
	if (!leaves && !all->stopped && marks_count(h->marks) > 0)
		g_message("handler \"%s\" (pid %d) is lost: pending requests %s", h->name,
		          (int)h->pid,
		          policy == HANDLER_LOST_WAIT   ? "wait for the next handler of that name"
		          : policy == HANDLER_LOST_DENY ? "fail"
		                                        : "go to the source");
	g_autoptr(GArray) over = stays ? handler_unload_locked(h, true) : NULL;
	mutex_unlock(&h->all->lock);
	for (guint n = 0; over && n < over->len; n++)
		event_end(h->all, &g_array_index(over, struct ended, n));
	if (!stays && handler_leave(h))
		handler_free(h);
}

void registry_restore(struct registry *all)
{
	kept_restore(all);
}

struct handler *registry_unserved(struct registry *all, int *fd)
{
	struct handler *found = NULL;
	mutex_lock(&all->lock);
	for (GList *l = all->list; l && !found; l = l->next) {
		struct handler *h = l->data;
		if (h->fd >= 0 && !h->serving) {
			h->serving = true;
			*fd = h->fd;
			found = h;
		}
	}
	mutex_unlock(&all->lock);
	return found;
}

void handler_serve(struct handler *h)
{
	mutex_lock(&h->all->lock);
	h->serving = true;
	mutex_unlock(&h->all->lock);
	converse(h);
	g_queue_clear_full(&h->postponed, g_free);
	handler_stop(h);
}
