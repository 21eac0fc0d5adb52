/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#pragma once
#include "fetch/source/source.h"

struct stat;

/* What the entry `st` is to the tree that is mounted: hard links are one file. Never 0 or 1. */
uint64_t dir_identity(const struct stat *st);
int64_t dir_mtime_ns(const struct stat *st);
/* Reads the directory open at `fd`. NULL: `error`. */
struct listing *dir_list(int fd, const struct listing *previous, GError **error);
