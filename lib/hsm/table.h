/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The descriptors that this library knows: those of groups, those of events, and its own, which
 * are hidden from the program.
 * Shape:   two levels, 1,024 by 1,024; a level is made when it is needed and stays
 * Locking: everything but table_knows() under the library's lock (hsm_lock()), which holds off
 *          signals: their handlers may call read(), write() and close()
 * Fork:    a child has a copy; a child of vfork() shares its parent's, and must not touch it
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct group;
struct file;

enum entry_kind { ENTRY_NONE, ENTRY_GROUP, ENTRY_FILE, ENTRY_HIDDEN };

struct entry {
	enum entry_kind kind;
	union {
		struct group *group; /* counted */
		struct file *file;   /* counted */
	};
};

/* false: not in the table. Without the lock; false under it, and in a child of vfork(). */
bool table_knows(int fd);
enum entry_kind table_kind(int fd); /* without the lock */
/* Is the table in use, and this process's? */
bool table_ours(void);
/* Never NULL. Valid until the lock is dropped. */
const struct entry *table_get(int fd);
/* Sets the entry or, with ENTRY_NONE, removes it; releases the previous one. Takes over the
 * caller's reference. */
int table_set(int fd, struct entry e);
/* The first of [first, last] in the table; -1: none. */
int table_next(int first, int last);
/* After a fork: the table is this process's from now on. */
void table_adopt(void);

/* Moves an own descriptor to a number that programs do not use; -1: none is free, and `fd` is
 * closed. */
int hidden_keep(int fd);
void hidden_close(int fd); /* -1: nothing */
