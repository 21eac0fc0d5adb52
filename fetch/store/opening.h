/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Opening a store, and closing it. One daemon has it at a time.
 * Errors: GError (LOCAL_ERROR, one line for the user); -errno
 */
#pragma once
#include "fetch/store/disk/store.h"
#include "fetch/store/disk/store_settings.h"

/* Creates or opens. Refused with one clear line: in use by another daemon (names its
 * pid), of another source, of a newer format, not a store, no user xattrs here. */
struct store *store_open(const char *path, const struct store_settings *settings, GError **error);
/* For a process that ends at once: another may open the store. Nothing is written, nothing freed.
 */
void store_abandon(struct store *s);
/* syncfs, then the clean mark; -errno where the sync failed (the store stays unclean). */
int store_close(struct store *s);
/* The same, of a store that came to no use: if it was made by this opening it is removed again, and
 * its directory, if it was not there. */
void store_drop(struct store *s);
/* From now on who finds it in use is told EAGAIN, not EBUSY: it will be free soon. */
void store_leave(struct store *s);
