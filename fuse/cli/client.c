/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "fuse/cli/client.h"
#include "fetch/base/error.h"
#include "fetch/base/pool.h"
#include "fuse/base/json.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/rendezvous.h"

enum { ANSWER_MAX = 64 << 20, FOREIGN_MAX = 4 << 20, DEPTH_MAX = 8 };

struct client {
	int fd;
	struct ucred peer;
	GString *received; /* not yet handed out */
	gsize searched;    /* bytes of it without a newline */
	gsize line_max;
};

static bool fail(GError **error, int code, const char *why)
{
	g_set_error_literal(error, LOCAL_ERROR, code, why);
	return false;
}

/* A connected socket whose other end is `uid` or root; else -errno. */
static int connect_checked(const char *directory, const struct mount *m, struct ucred *peer)
{
	struct sockaddr_un address;
	socklen_t size = sizeof(*peer);
	const int ms = client_foreign(m) ? CLIENT_FOREIGN_MS : CLIENT_TIMEOUT_MS;
	const struct timeval patience = {.tv_sec = ms / 1000};
	if (!rendezvous_address(directory, m->major, m->minor, &address))
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); /* connect too */
	int code = 0;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) != 0)
		code = errno;
	else if (peer->uid != 0 && peer->uid != m->uid)
		code = EPERM;
	if (!code)
		return fd;
	close(fd);
	return -code;
}

struct client *client_open(const struct mount *m, GError **error)
{
	g_auto(GStrv) directories = rendezvous_directories(m->uid);
	int code = ENOENT;
	for (char **directory = directories; *directory; directory++) {
		struct ucred peer;
		int fd = connect_checked(*directory, m, &peer);
		if (fd >= 0) {
			struct client *c = g_new0(struct client, 1);
			*c = (struct client){fd, peer, g_string_new(NULL)};
			c->line_max = client_foreign(m) ? FOREIGN_MAX : ANSWER_MAX;
			return c;
		}
		if (fd != -ENOENT && fd != -ENOTDIR && code != EACCES)
			code = -fd;
	}
	if (code == ENOENT || code == ECONNREFUSED)
		fail(error, code, "no daemon answers for it");
	else if (code == EACCES)
		fail(error, code, "only the mount's owner and root are answered");
	else
		fail(error, code, g_strerror(code));
	return NULL;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close(c->fd);
	g_string_free(c->received, TRUE);
	g_free(c);
}

pid_t client_peer(const struct client *c)
{
	return c->peer.pid;
}

bool client_send(struct client *c, JsonBuilder *request, GError **error)
{
	gsize length;
	g_autofree char *text = json_line(request, &length);
	g_object_unref(request);
	for (gsize sent = 0; sent < length;) {
		ssize_t n = send(c->fd, text + sent, length - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return true; /* a daemon that refuses may hang up first: it has answered */
		if (n <= 0)
			return fail(error, errno, "the daemon does not answer");
		sent += (gsize)n;
	}
	return true;
}

static bool answer_parse(const char *line, gsize length, JsonObject **answer, GError **error)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonNode *root = NULL;
	if (json_sane(line, length, DEPTH_MAX) &&
	    json_parser_load_from_data(parser, line, (gssize)length, NULL))
		root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root))
		return fail(error, EPROTO, "the daemon's answer makes no sense");
	JsonObject *object = json_node_get_object(root);
	if (json_object_get_size(object) == 1 && json_object_has_member(object, "error"))
		return fail(error, EREMOTEIO, json_text(object, "error", "refused"));
	*answer = json_object_ref(object);
	return true;
}

bool client_receive(struct client *c, int timeout_ms, JsonObject **answer, GError **error)
{
	int64_t until = clock_now() + (int64_t)timeout_ms * 1000000;
	for (;;) {
		const char *end = memchr(c->received->str + c->searched, '\n',
		                         c->received->len - c->searched);
		c->searched = c->received->len;
		if (end) {
			c->searched = 0;
			gsize length = (gsize)(end - c->received->str);
			bool ok = answer_parse(c->received->str, length, answer, error);
			g_string_erase(c->received, 0, (gssize)length + 1);
			return ok;
		}
		char buffer[16384];
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		int64_t left = (until - clock_now()) / 1000000;
		int ready = left < 0 ? 0 : poll(&p, 1, (int)left);
		if (ready == 0)
			return fail(error, ETIMEDOUT, "the daemon does not answer");
		ssize_t n = ready < 0 ? -1 : recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (ready < 0 || (n < 0 && errno == EINTR))
			return fail(error, EINTR, "interrupted");
		if (n < 0 && errno == EAGAIN)
			continue;
		if (n < 0 && errno == ECONNRESET)
			n = 0; /* the daemon did not read the whole request */
		if (n < 0 || (n == 0 && c->received->len) || c->received->len > c->line_max)
			return fail(error, EPROTO, "the daemon's answer breaks off");
		if (n == 0) {
			*answer = NULL;
			return true;
		}
		g_string_append_len(c->received, buffer, n);
	}
}

bool client_wait(struct client *c)
{
	struct pollfd p[] = {{.fd = c->fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	while (!c->received->len && (poll(p, 2, -1) < 0 || !(p[0].revents | p[1].revents)))
		;
	return c->received->len || p[0].revents || !(p[1].revents & POLLERR);
}

bool client_reaches(const struct mount *m)
{
	struct client *c = client_open(m, NULL);
	client_close(c);
	return c;
}

bool client_foreign(const struct mount *m)
{
	return m->uid != 0 && m->uid != geteuid();
}

JsonObject *client_ask(const struct mount *m, JsonBuilder *request, GError **error)
{
	int patience = client_foreign(m) ? CLIENT_FOREIGN_MS : CLIENT_TIMEOUT_MS;
	JsonObject *answer = NULL;
	struct client *c = client_open(m, error);
	if (!c) {
		g_object_unref(request);
		return NULL;
	}
	bool ok = client_send(c, request, error) && client_receive(c, patience, &answer, error);
	client_close(c);
	if (ok && !answer)
		fail(error, EPROTO, "the daemon hung up");
	return answer;
}
