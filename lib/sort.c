/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/handler.h"

void queued_request_free(struct queued_request *e)
{
	if (e->request.fd >= 0)
		close(e->request.fd);
	free(e);
}

static bool event_sane(const struct lacuna_event *e, const char *path)
{
	return e->header.id != 0 && e->header.length - sizeof(*e) == e->path_length &&
	       e->operation >= LACUNA_READ && e->operation <= LACUNA_ALLOCATE &&
	       e->offset <= INT64_MAX && e->length <= INT64_MAX - e->offset &&
	       e->size <= INT64_MAX && !memchr(path, '\0', e->path_length);
}

static int event_take(struct lacuna_handler *h)
{
	struct lacuna_event wire;
	const char *path = (const char *)h->inbox.bytes + sizeof(wire);
	struct lacuna_message *header = &wire.header;
	memcpy(header, h->inbox.bytes, sizeof(*header));
	if (header->length < sizeof(wire))
		return -EPROTO;
	memcpy(&wire, h->inbox.bytes, sizeof(wire));
	if (!event_sane(&wire, path))
		return -EPROTO;
	int fd, r = inbox_fd(&h->inbox, &fd);
	if (r < 0)
		return r;
	struct queued_request *e = malloc(sizeof(*e) + wire.path_length + 1);
	if (!e) {
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	e->next = NULL;
	e->request = (struct lacuna_request){.id = wire.header.id,
	                                     .offset = wire.offset,
	                                     .length = wire.length,
	                                     .size = wire.size,
	                                     .ino = wire.ino,
	                                     .operation = wire.operation,
	                                     .flags = wire.flags,
	                                     .pid = wire.pid,
	                                     .tid = wire.tid,
	                                     .uid = wire.uid,
	                                     .fd = fd,
	                                     .path = e->path};
	memcpy(e->path, path, wire.path_length);
	e->path[wire.path_length] = '\0';
	*h->last = e;
	h->last = &e->next;
	return 0;
}

static int result_take(struct lacuna_handler *h)
{
	struct lacuna_result wire;
	const struct lacuna_message *header = (const void *)h->inbox.bytes;
	if (header->length != sizeof(wire))
		return -EPROTO;
	memcpy(&wire, h->inbox.bytes, sizeof(wire));
	if (wire.header.id == 0 || wire.error > 4095) /* 0: of an invalid message */
		return -EPROTO;
	for (struct marker *m = h->markers; m; m = m->next) {
		if (m->id != wire.header.id)
			continue;
		m->error = (int)wire.error;
		m->done = true;
		pthread_cond_signal(&m->changed);
		return 0;
	}
	if (wire.error)
		atomic_fetch_add(&h->refusals, 1);
	return 0;
}

int handler_sort_locked(struct lacuna_handler *h)
{
	int r;
	while ((r = inbox_whole(&h->inbox)) > 0) {
		struct lacuna_message header;
		memcpy(&header, h->inbox.bytes, sizeof(header));
		if (header.type == LACUNA_EVENT)
			r = event_take(h);
		else if (header.type == LACUNA_RESULT)
			r = result_take(h);
		else
			r = -EPROTO;
		if (r < 0)
			return r;
		inbox_drop(&h->inbox, header.length);
	}
	return r;
}
