/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Which files a handler is asked for: marks as in fanotify(7), by inode number.
 * Locking: the caller's
 * Units:   GArray of uint64_t inode numbers
 * Errors:  0 or a positive errno
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct marks;

struct marks *marks_new(void);
void marks_free(struct marks *m); /* NULL: nothing */
/* ENOENT: there is no such mark to remove; EINVAL. */
int marks_set(struct marks *m, uint32_t scope, uint32_t flags, uint64_t ino);
/* There is no such file or directory any more: its number may be another's from now on. */
void marks_forget(struct marks *m, uint64_t ino);
/* Of a file in these directories, by its names: is it marked, and not excepted? */
bool marks_want(const struct marks *m, uint64_t ino, const GArray *parents);
unsigned marks_count(const struct marks *m);
