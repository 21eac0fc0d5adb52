/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Every entry of a local directory.
 * Errors:  as fetch/base/dirents.h
 */
#pragma once
#include "fetch/base/dirents.h"

/* 0: go on; anything else ends the walk and is its result. */
typedef int (*entries_each)(int fd, struct dirent *e, void *user);
/* Every name but "." and "..". Takes `fd`; a negative one is the result. */
int entries_foreach(int fd, entries_each each, void *user);
