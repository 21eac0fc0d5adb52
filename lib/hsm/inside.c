/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/inside.h"
#include <unistd.h>
#include "lib/handler.h"
#include "lib/hsm/table.h"

/* An epoll instance refers to open files: a duplicate stays in it. */
int inside_hide(struct lacuna_handler *h)
{
	int *fds[] = {&h->poll, &h->wake, &h->ready, &h->socket};
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		*fds[i] = hidden_keep(*fds[i]);
		if (*fds[i] < 0)
			return -EMFILE;
	}
	return 0;
}

void inside_close(struct lacuna_handler *h, int lost)
{
	const int fds[] = {h->poll, h->wake, h->ready, h->socket};
	if (lost) { /* setting it would wake the other process, permanently */
		close(h->wake);
		h->wake = -1;
	}
	lacuna_close(h, lost);
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			table_set(fds[i], (struct entry){.kind = ENTRY_NONE});
}

void inside_free(struct lacuna_request *r)
{
	queued_request_free((struct queued_request *)r);
}
