/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The descriptors that this library knows about: those of groups, those of events, and its own,
 * which the program shall not see.
 * Shape:   two levels, 1,024 by 1,024; a level is made when it is needed and stays
 * Locking: everything but table_knows() under the library's lock (hsm_lock()), which holds off
 *          signals: read(), write() and close() may be called by handlers of them
 * Fork:    a child has a copy; what a vfork() made shares its parent's, and must not touch it
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

/* false: none of ours. Without the lock, and false under it; false in a child of vfork(), too. */
bool table_knows(int fd);
enum entry_kind table_kind(int fd); /* without the lock */
/* Is there anything in it, and is it this process's? */
bool table_ours(void);
/* Never NULL. Valid until the lock is dropped. */
const struct entry *table_get(int fd);
/* Puts an entry there, or (ENTRY_NONE) takes it away; what was there is released. Counts what it
 * puts there as the caller's. */
int table_set(int fd, struct entry e);
/* The first of [first, last] that is known; -1: none. */
int table_next(int first, int last);
/* After a fork: the process that the table is of. */
void table_adopt(void);

/* An own descriptor, moved to where programs do not look; -1 and `fd` closed: there is no room. */
int hidden_keep(int fd);
void hidden_close(int fd); /* -1: nothing */
