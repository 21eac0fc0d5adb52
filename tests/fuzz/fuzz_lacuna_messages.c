/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* What a mount sends to a handler: the first byte says how many descriptors came along, the second
 * in which pieces the rest arrives. */
#include <stdlib.h>
#include <string.h>
#include "lib/handler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void events_check(struct lacuna_handler *h)
{
	while (h->first) {
		struct queued_request *e = h->first;
		h->first = e->next;
		if (!e->request.id || e->request.offset + e->request.length > INT64_MAX ||
		    strlen(e->request.path) > LACUNA_MESSAGE_MAX)
			abort();
		queued_request_free(e);
	}
	h->last = &h->first;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct lacuna_handler h;
	memset(&h, 0, sizeof(h));
	h.last = &h.first;
	if (size < 2)
		return 0;
	size_t piece = data[1] ? data[1] : LACUNA_MESSAGE_MAX;
	for (unsigned i = 0; i < data[0] % (INBOX_FDS + 1); i++)
		h.inbox.fds[h.inbox.fd_count++] = -1; /* as if it could not be opened */
	int r = 0;
	for (size_t at = 2; at < size && r == 0; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		if (n > sizeof(h.inbox.bytes) - h.inbox.used)
			abort(); /* a message always fits */
		memcpy(h.inbox.bytes + h.inbox.used, data + at, n);
		h.inbox.used += n;
		r = handler_sort_locked(&h);
		events_check(&h);
	}
	if (r > 0 || h.inbox.fd_count > INBOX_FDS)
		abort();
	return 0;
}
