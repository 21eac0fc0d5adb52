/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The folder `.lacuna` of a published tree, while one publisher has it.
 * Owns:   the folder's descriptor, which holds the lock; the unfinished index
 * Errors: LOCAL_ERROR; EBUSY: another publisher is at work
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/head.h"

struct output;

/* Makes DIRECTORY/.lacuna if it is missing, and removes what an interrupted publish left. */
struct output *output_open(const char *directory, GError **error);
/* Removes the unfinished index. */
void output_close(struct output *o);
int output_folder(const struct output *o); /* its descriptor, borrowed */
/* A new file for the index; its descriptor is borrowed; -1 with `error`. */
int output_begin(struct output *o, GError **error);
/* Makes the file of output_begin() the current index: root and size are set, the rest of the head
 * is an output. `signer` NULL: it is not signed. *unchanged: the head already names that root, is
 * signed by that signer, and stays. *was_signed: the head before was. */
bool output_commit(struct output *o, struct head *h, const struct signer *signer, bool *unchanged,
                   bool *was_signed, GError **error);
