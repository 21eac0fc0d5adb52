/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a worker and its keeper say to each other: a SOCK_SEQPACKET message each, with at most one
 * descriptor. Its end of file says that the worker is dead: the socket belongs to the table of
 * descriptors that all its threads share, and which goes when the last of them has left the kernel.
 * Threads of the notifier have a table of their own (notify.h): stuck ones delay no takeover. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum word_kind {
	WORD_HAND = 1, /* with the descriptor `what`: also from the keeper to a worker that waits */
	WORD_DROP,
	WORD_SERVE,   /* it takes requests: a death from here on is one of theirs */
	WORD_SETTLED, /* all of it runs: the trial of another program's worker begins */
	WORD_LEAVE,
	WORD_UPGRADE, /* with the connection of a client who asks for it (upgrade.h) */
	WORD_READY,   /* another program's worker could take over, */
	WORD_GO,      /* and is to, now: the keeper's word */
};

struct word {
	uint32_t kind;
	uint32_t what; /* WORD_HAND, WORD_DROP: enum kept */
};

/* `fd` may be -1. false: errno. */
bool word_send(int socket, struct word word, int fd);
/* Waits. 1; 0: the end; -1: errno. *fd: owned by the caller; -1: none came. */
int word_receive(int socket, struct word *out, int *fd);
