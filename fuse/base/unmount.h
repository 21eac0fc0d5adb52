/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Unmounting, by fusermount3 where this process may not. */
#pragma once
#include <stdbool.h>

/* 0 or a positive errno; `said` (may be NULL): fusermount3's message where it is not an errno;
 * caller frees. */
int unmount(const char *point, bool lazy, char **said);
