/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Notices for the kernel (notify.h) that are queued, or under way. They lie in the area: the next
 * worker sends them again, since nobody knows whether one that was under way has reached the
 * kernel. Twice does no harm.
 * Shape:   a list of blocks of the arena
 * Killed:  a notice is linked in last, and unlinked before its block is given back; `before` is
 *          made again
 * Locking: the notifier's mutex; notice_new() and notice_free() without one
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct area;
struct arena;

struct notice {
	struct notice *next, *before;
	uint64_t nodeid;
	uint32_t length; /* of the name */
	char name[];     /* "": the inode's pages */
};

struct notice *notice_new(struct arena *a, uint64_t nodeid, const char *name);
void notice_free(struct arena *a, struct notice *e);
void notice_link_locked(struct area *a, struct notice *e);
void notice_unlink_locked(struct area *a, struct notice *e);
/* Takeover, before the arena's sweep: keeps what the worker before had not sent. false: the list is
 * damaged. */
bool notices_restore(struct area *a, struct arena *arena);
