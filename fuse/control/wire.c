/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/wire.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "fetch/base/pool.h"
#include "fuse/base/json.h"
#include "lacuna/control.h"

static bool send_text(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		length -= (size_t)n;
	}
	return true;
}

bool wire_send(int fd, JsonBuilder *b)
{
	gsize length;
	g_autofree char *text = json_line(b, &length);
	return send_text(fd, text, length);
}

void wire_refuse(int fd, const char *message)
{
	g_autoptr(JsonBuilder) b = json_builder_new();
	json_builder_begin_object(b);
	json_add_text(b, "error", message);
	json_builder_end_object(b);
	wire_send(fd, b);
}

void wire_hang_up(int fd, int patience_ms)
{
	char ignored[16384];
	int64_t until = clock_now() + (int64_t)patience_ms * 1000000, left;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	shutdown(fd, SHUT_WR);
	while ((left = (until - clock_now()) / 1000000) > 0 && poll(&p, 1, (int)left) > 0 &&
	       recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT) > 0)
		;
}

GByteArray *wire_receive(int fd)
{
	g_autoptr(GByteArray) line = g_byte_array_new();
	int64_t until = clock_now() + (int64_t)WIRE_PATIENCE_MS * 1000000;
	for (;;) {
		uint8_t buffer[4096];
		int left = (int)((until - clock_now()) / 1000000);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (left <= 0 || poll(&p, 1, left) <= 0)
			return NULL;
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n <= 0)
			return NULL;
		uint8_t *end = memchr(buffer, '\n', (size_t)n);
		g_byte_array_append(line, buffer, end ? (guint)(end - buffer) : (guint)n);
		if (line->len > LACUNA_CONTROL_LINE)
			return NULL;
		if (end)
			return g_steal_pointer(&line);
	}
}
