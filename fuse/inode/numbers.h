/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Inode numbers below 2^32, for 32-bit programs (-o inode32), as reported by stat(2) and
 * readdir(3); the daemon itself uses the 64-bit numbers.
 * Shape:   a number below 2^31 is reported unchanged; others are folded to 31 bits and reported
 *          with the highest bit set, except 2^32 - 1, which is unused. On a collision the later
 *          one gets another. A number is written to a file (struct number_disk) before it is
 *          reported, so that a remount reports the same, in whatever order files are accessed.
 *          No two reported numbers are equal
 * Memory:  about 40 bytes for each number ever reported, and 16 of the file
 * Locking: any function from any thread, with any of the daemon's locks held; a new number is
 *          written (to the page cache) under its own lock
 * Errors:  an unreadable or unwritable file: one warning, numbers are still assigned
 */
#pragma once
#include <stdint.h>

struct numbers;

/* `path`: of the file, NULL: none. */
struct numbers *numbers_new(const char *path);
void numbers_free(struct numbers *n);
/* `n` NULL: the number itself; as below. */
uint64_t numbers_shown(struct numbers *n, uint64_t ino);
/* The number reported as `shown`; `shown` itself if there is none: no file has it. */
uint64_t numbers_inner(struct numbers *n, uint64_t shown);
