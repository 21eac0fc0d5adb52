/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What of one directory is not as its listing says: names that count here, and names that are
 * gone. In memory, pure state.
 * Shape:   local names have positions that are never given out twice while it lives
 * Owns:    its names
 * Locking: the caller's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *o);

/* `type`: S_IFMT. A name that is there keeps its position. */
void overlay_add(struct overlay *o, const char *name, uint32_t type);
void overlay_remove(struct overlay *o, const char *name);
/* *type: of a name that is there. */
bool overlay_find(const struct overlay *o, const char *name, uint32_t *type);
bool overlay_has(const struct overlay *o, const char *name);
void overlay_gone_add(struct overlay *o, const char *name);
void overlay_gone_remove(struct overlay *o, const char *name);
bool overlay_is_gone(const struct overlay *o, const char *name);
/* The first local name past `position`: 0 = of all. *name: borrowed. false: that was all. */
bool overlay_next(const struct overlay *o, uint64_t position, const char **name, uint32_t *type,
                  uint64_t *at);
/* Calls `fn` with each name that is gone. */
void overlay_foreach_gone(const struct overlay *o, void (*fn)(const char *name, void *user),
                          void *user);
