/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Opening and closing a store. Only one daemon can have it open.
 * Errors: GError (LOCAL_ERROR, one line for the user); -errno
 */
#pragma once
#include "fetch/store/disk/store.h"
#include "fetch/store/disk/store_settings.h"

/* Creates or opens. Errors, each one clear line: in use by another daemon (with its
 * pid), of another source, of a newer format, not a store, no user xattrs. */
struct store *store_open(const char *path, const struct store_settings *settings, GError **error);
/* The locked file, borrowed: the store is in use while any process has it open. */
int store_lock_fd(const struct store *s);
/* For a process that exits at once: unlocks the store, without writing or freeing anything. */
void store_abandon(struct store *s);
/* syncfs, then the clean mark; -errno where the sync failed (the store stays unclean). */
int store_close(struct store *s);
/* Closes a store that was never used: if this opening created it, it is removed again, and so is
 * its directory if it was created. */
void store_drop(struct store *s);
/* From now on other daemons that open the store get EAGAIN, not EBUSY: it will be free soon. */
void store_leave(struct store *s);
