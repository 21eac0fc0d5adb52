/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Inode numbers below 2^32, for programs of 32 bits (-o inode32): what stat(2) and readdir(3)
 * tell, beside the numbers of 64 bits that everything in here goes by.
 * Shape:   a number below 2^31 is told as it is; others are folded to 31 bits and told with the
 *          highest bit, but for 2^32 - 1, which is nobody's. Where two meet, the later one gets
 *          another. What was told is written to a file before (struct number_disk), so that
 *          it is told again after a remount, in whatever order the files are looked at then.
 *          No two that were told are the same
 * Memory:  about 40 bytes for each number that was ever told, and 16 of the file
 * Locking: any function from any thread, with any lock of ours held; a new number is written
 *          (to the page cache) under its own lock
 * Errors:  a file that cannot be read or written: one warning, the numbers go on
 */
#pragma once
#include <stdint.h>

struct numbers;

/* `path`: of the file, NULL: none. */
struct numbers *numbers_new(const char *path);
void numbers_free(struct numbers *n);
/* `n` NULL: the number itself; as below. */
uint64_t numbers_shown(struct numbers *n, uint64_t ino);
/* Which one was told as `shown`; `shown` where none was: it is nobody's. */
uint64_t numbers_inner(struct numbers *n, uint64_t shown);
