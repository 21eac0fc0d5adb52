/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a worker says to its keeper: a SOCK_SEQPACKET message each, WORD_HAND with one descriptor.
 * Its end of file says that the worker is dead: the socket belongs to the table of descriptors that
 * all its threads share, and which goes when the last of them has left the kernel. Threads of the
 * notifier have a table of their own (notify.h): stuck ones delay no takeover. */
#pragma once
#include <stdint.h>

enum word_kind { WORD_HAND = 1, WORD_DROP, WORD_SERVE, WORD_LEAVE };

struct word {
	uint32_t kind;
	uint32_t what; /* WORD_HAND, WORD_DROP: enum kept */
};
