/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/events/registry.h"
#include "fuse/inode/server.h"

/* What a handler of pre-content events sends, cut where the first byte says. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct settings settings = {.handler_ms = 10, .handler_lost = HANDLER_LOST_SOURCE};
	static struct area area;
	struct server s = {.settings = &settings, .area = &area};
	const struct handler_options o = {.name = "fuzz"};
	int ends[2];
	bool inherited;
	int err = 0;
	if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return 0;
	size_t cut = data[0] % size;
	s.handlers = registry_new(&s);
	struct handler *h = registry_attach(s.handlers, &o, ends[0], &inherited, &err);
	if (!h || inherited || !registry_any(s.handlers))
		abort();
	if (send(ends[1], data + 1, cut, MSG_NOSIGNAL) < 0 ||
	    send(ends[1], data + 1 + cut, size - 1 - cut, MSG_NOSIGNAL) < 0)
		abort();
	shutdown(ends[1], SHUT_WR);
	handler_serve(h);
	if (registry_any(s.handlers))
		abort();
	registry_free(s.handlers);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
