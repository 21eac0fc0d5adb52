/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reading a local directory to its end.
 * Errors:  -errno, also where it could be read in part only: a directory whose end was not
 *          reached is never taken for one that has ended
 */
#pragma once
#include <dirent.h>

/* 0: go on; anything else ends the walk and is its result. */
typedef int (*entries_each)(int fd, struct dirent *e, void *user);
/* Every name but "." and "..". `fd` is taken over; if it is negative it is the result. */
int entries_foreach(int fd, entries_each each, void *user);
