/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The checks of fanotify's calls, made before any file is looked at.
 * Shape:   pure: numbers in, 0 or -errno out; the order of the checks is the kernel's
 * Source:  fs/notify/fanotify/fanotify_user.c of 6.14 to 6.18, for a caller with CAP_SYS_ADMIN, in
 *          a group of FAN_CLASS_PRE_CONTENT
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int rules_init(unsigned flags, unsigned event_flags);
/* *mask: without bits that have no effect. */
int rules_mark(unsigned flags, uint64_t *mask, unsigned init_flags);

/* For the object that FAN_MARK_ADD marks. */
int rules_object(unsigned flags, uint64_t mask, bool directory, bool regular);

struct rules_mark { /* the marks of an object */
	uint32_t mask, ignored;
	bool ignore_flags; /* by FAN_MARK_IGNORE */
	bool survives;     /* FAN_MARK_IGNORED_SURV_MODIFY */
	bool evictable;
	bool is; /* it is marked */
};

/* `directory`: an inode's mark, of a directory. */
int rules_mark_add(struct rules_mark *m, unsigned flags, uint32_t mask, bool directory);
int rules_mark_remove(struct rules_mark *m, unsigned flags, uint32_t mask, bool directory);

enum rules_effect {                   /* events that are asked for, and exceptions */
	            RULES_OBJECT = 1, /* a file; all of a mount */
	            RULES_CHILDREN = 2,
	            RULES_IGNORE_OBJECT = 4,
	            RULES_IGNORE_CHILDREN = 8,
};
/* For pre-content events: enum rules_effect. */
unsigned rules_mark_effect(const struct rules_mark *m, bool directory);

/* An answer of `length` bytes. 0: for the event with this descriptor; 1: valid, but for no event;
 * -errno. *taken: bytes of it. */
int rules_response(const void *data, size_t length, unsigned init_flags, int *fd, bool *allow,
                   int *error, size_t *taken);
