/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Framing: splits a socket's data into messages with their descriptors.
 * Shape:   bytes[0 … used) begin with a message; fds[0 … fd_count) came with them, in order
 * Owns:    fds; the socket is borrowed
 * Locking: none: one thread at a time has an inbox
 * Errors:  0 or -errno; errno is left alone by the public functions, not here
 * Trust:   the peer has been checked; lengths and descriptors are checked nevertheless
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
/* The exports of the shared library; a static one exports nothing. */
#ifdef LACUNA_SHARED
#pragma GCC visibility push(default)
#endif
#include "lacuna/precontent.h"
#ifdef LACUNA_SHARED
#pragma GCC visibility pop
#endif

enum { INBOX_BYTES = 2 * LACUNA_MESSAGE_MAX, INBOX_FDS = 8, LINE_MAX_BYTES = 4096 };

struct inbox {
	_Alignas(uint64_t) uint8_t bytes[INBOX_BYTES];
	size_t used;
	int fds[INBOX_FDS]; /* -1: it arrived, but this process could not open one more */
	unsigned fd_count;
};

/* Receives available data, without waiting. -EAGAIN: none; -ECONNRESET; -EPROTO: descriptors that
 * no message can have. A message fits if complete ones are removed between calls. */
int inbox_receive(struct inbox *in, int socket);
/* 1: a complete message is at `bytes`; 0: not yet; -EPROTO. */
int inbox_whole(const struct inbox *in);
/* Removes the first `length` bytes. */
void inbox_drop(struct inbox *in, size_t length);
/* The descriptor that arrived first, or -1 as above; the caller owns it. -EPROTO: none. */
int inbox_fd(struct inbox *in, int *fd);
/* The first line, without its newline, NUL-terminated: its length. -EAGAIN: not yet;
 * -EPROTO: too long, or a NUL in it. */
int inbox_line(struct inbox *in, char line[LINE_MAX_BYTES]);
void inbox_clear(struct inbox *in);

/* Sends the whole message, waits until the socket takes it. -ECONNRESET. */
int message_send(int socket, const void *message, size_t length);
