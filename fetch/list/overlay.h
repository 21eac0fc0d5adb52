/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The local changes of one directory: names that are local, and remote names that are gone. In
 * memory, pure state.
 * Shape:   each local name has a place: a number of its own, or the listing's cookie if it was
 *          listed when it became local, or is listed as the directory is loaded. A readdir goes on
 *          after another process has loaded the names: the numbers of those that it was told are
 *          as before, those of the others follow from the names. The place stays as long as the
 *          name, whatever later listings contain, so that readdir returns it once. readdir takes
 *          numbers from the highest to the lowest: a name created or renamed meanwhile lies behind
 *          its position, so readdir ends
 * Owns:    its names
 * Locking: the caller's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Numbers are below; when they are used up they are assigned anew, and a readdir under way then
 * may miss or repeat names. */
#define OVERLAY_NUMBERS (UINT32_C(1) << 30)

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *o);

/* `type`: S_IFMT; `cookie`: as listed, 0: unlisted. An existing name keeps its place. Returns a new
 * name's number, or 0. */
uint32_t overlay_add(struct overlay *o, const char *name, uint32_t type, uint32_t cookie);
void overlay_remove(struct overlay *o, const char *name);
/* As overlay_add(), for a new overlay; then overlay_loaded(), before any other use. `number`: as it
 * was before; 0: not known. */
void overlay_load(struct overlay *o, const char *name, uint32_t type, uint32_t cookie,
                  uint32_t number);
void overlay_loaded(struct overlay *o);

struct overlay_entry {
	const char *name; /* borrowed */
	uint32_t type;
	uint32_t number, cookie; /* its place: one of them, the other is 0 */
};
bool overlay_find(const struct overlay *o, const char *name, struct overlay_entry *out);
bool overlay_has(const struct overlay *o, const char *name);
bool overlay_is_empty(const struct overlay *o); /* no local name */
/* The name with the highest number below `number`; false: there is none. */
bool overlay_next(const struct overlay *o, uint32_t number, struct overlay_entry *out);
/* The first name with a cookie past `cookie` that the listing no longer has at its cookie. */
bool overlay_next_unlisted(const struct overlay *o, uint32_t cookie, struct overlay_entry *out);
/* The listing was replaced: `listed` tells whether the new one has `name` at `cookie`. */
void overlay_relist(struct overlay *o,
                    bool (*listed)(void *user, const char *name, uint32_t cookie), void *user);

void overlay_gone_add(struct overlay *o, const char *name);
bool overlay_is_gone(const struct overlay *o, const char *name);
