/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The mount's end of a handler's connection, for tests of the library. */
#pragma once
#include "lib/handler.h"

struct peer {
	int fd;      /* the mount's end */
	int scratch; /* sent with events */
	struct lacuna_handler *h;
};

void peer_open(struct peer *p);
/* Closes the descriptors that are still open on either side. */
void peer_close(struct peer *p);
/* Bytes, and `fds` with the first of them. */
void peer_send(struct peer *p, const void *bytes, size_t length, const int *fds, unsigned count);
/* Writes a whole EVENT to `out`, and returns its length. Its path is "dir/file-ID". */
size_t event_make(uint8_t out[LACUNA_MESSAGE_MAX], uint64_t id);
void peer_event(struct peer *p, uint64_t id);
void peer_result(struct peer *p, uint64_t id, uint32_t error);
/* The next `length` bytes that the handler sends; fails if they do not come. */
void peer_receive(struct peer *p, void *out, size_t length);
/* How many descriptors this process has open. */
unsigned descriptors_open(void);
