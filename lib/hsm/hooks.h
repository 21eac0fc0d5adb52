/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Hooks: replacements of libc functions. They have names of their own here, as the
 * headers rename and decorate libc's. */
#pragma once
#include <errno.h>
#include "lib/hsm/hsm.h"

#define HOOK(type, name, symbol, arguments)                                                        \
	type name arguments __asm__(symbol);                                                       \
	__attribute__((visibility("default"))) type name arguments
/* The same by another name. */
#define HOOK_ALSO(type, name, symbol, arguments, of)                                               \
	type name arguments __asm__(symbol);                                                       \
	__attribute__((visibility("default"), alias(of))) type name arguments;

/* The group of a descriptor, counted; NULL: none. */
struct group *hook_group(int fd);
void hook_group_put(struct group *g);

/* Converts a result to libc's convention. */
static inline ssize_t hook_return(ssize_t r)
{
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}
