/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What of one directory is not as its listing says: names that count here, and names that are
 * gone. In memory, pure state.
 * Shape:   each local name has a place: a number of its own, or the listing's cookie if it was
 *          listed when it came to count. The place stays as long as the name, whatever the listing
 *          says later, so that a walk gives it once. A walk takes numbers from the highest to the
 *          lowest: what is made or renamed while it goes on is behind it, and it ends
 * Owns:    its names
 * Locking: the caller's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Numbers are below; they are given out anew when they have come to their end, which a walk
 * that is under way then does not survive. */
#define OVERLAY_NUMBERS (UINT32_C(1) << 30)

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *o);

/* `type`: S_IFMT; `cookie`: as listed, 0: it is not. A name that is there keeps its place. */
void overlay_add(struct overlay *o, const char *name, uint32_t type, uint32_t cookie);
void overlay_remove(struct overlay *o, const char *name);

struct overlay_entry {
	const char *name; /* borrowed */
	uint32_t type;
	uint32_t number, cookie; /* its place: one of them, the other is 0 */
};
bool overlay_find(const struct overlay *o, const char *name, struct overlay_entry *out);
bool overlay_has(const struct overlay *o, const char *name);
bool overlay_is_empty(const struct overlay *o); /* no name counts */
/* The name with the highest number below `number`; false: there is none. */
bool overlay_next(const struct overlay *o, uint32_t number, struct overlay_entry *out);
/* The first name at a cookie past `cookie` at which the listing does not have it any more. */
bool overlay_next_unlisted(const struct overlay *o, uint32_t cookie, struct overlay_entry *out);
/* There is another listing: has it `name` at that cookie? */
void overlay_relist(struct overlay *o,
                    bool (*listed)(void *user, const char *name, uint32_t cookie), void *user);

void overlay_gone_add(struct overlay *o, const char *name);
bool overlay_is_gone(const struct overlay *o, const char *name);
