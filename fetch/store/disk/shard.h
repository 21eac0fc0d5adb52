/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files of STORE/state by number, 256 directories a kind: KIND/xx/NUMBER. Directories are
 * made when the first file needs them.
 * Errors: -errno
 */
#pragma once
#include <stdint.h>

#define SHARD_PATH_MAX 40

void shard_path(const char *kind, uint64_t number, char path[SHARD_PATH_MAX]);
/* The directories of `number`. */
int shard_make(int state, const char *kind, uint64_t number);
int shard_open(int state, const char *kind, uint64_t number, int flags);
int shard_unlink(int state, const char *kind, uint64_t number);
