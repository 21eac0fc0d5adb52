/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where the current index of a mounted tree is kept on the local disk, with its head:
 *   FOLDER/head           as published; names the index that a mount without network begins with
 *   FOLDER/index-<root>   complete, and compared with its root before it got this name
 *   FOLDER/.tmp-…         unfinished
 * Errors: LOCAL_ERROR
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/head.h"
#include "fetch/index/index.h"

/* The kept head and its index; false: there is none that can be used. */
bool shelf_load(const char *folder, struct head *head, struct index **index);
/* A new file for an index, in the folder, which is made if it is missing. -1 with `error`. */
int shelf_begin(const char *folder, GError **error);
/* Makes the file of shelf_begin() the kept index, and removes all others. */
bool shelf_commit(const char *folder, int fd, const struct head *head, GError **error);
/* Replaces the kept head by another one of the same index. */
bool shelf_renew(const char *folder, const struct head *head, GError **error);
void shelf_abandon(const char *folder);
