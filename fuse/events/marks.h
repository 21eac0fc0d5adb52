/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Marks of a handler, as in fanotify(7), by inode number: they select the files it is asked for.
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
/* ENOENT: no such mark to remove; EINVAL; ENOSPC: a new mark, and `full`. */
int marks_set(struct marks *m, uint32_t scope, uint32_t flags, uint64_t ino, bool full);
/* The file or directory is gone: another one may get its number. */
void marks_forget(struct marks *m, uint64_t ino);
/* Is a file with names in these directories marked, and not ignored? */
bool marks_want(const struct marks *m, uint64_t ino, const GArray *parents);
/* Each mark, as marks_set() takes it. */
void marks_foreach(const struct marks *m,
                   void (*fn)(void *user, uint32_t scope, uint32_t flags, uint64_t ino),
                   void *user);
unsigned marks_count(const struct marks *m);
