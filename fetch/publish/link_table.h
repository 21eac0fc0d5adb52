/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files with several names, met on the walk: which inode they have, and how many names.
 * Shape:  24 bytes for each such file, and 4 in the table: ten millions are 330 MB
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct link_table;

struct link_table *link_table_new(void);
void link_table_free(struct link_table *l);
/* Counts one more name of the file. Its number; *nid: of its first name, 0: this is the first.
 * UINT32_MAX: too many files. */
uint32_t link_table_add(struct link_table *l, uint64_t device, uint64_t ino, uint64_t *nid);
void link_table_set(struct link_table *l, uint32_t number, uint64_t nid);
uint32_t link_table_count(const struct link_table *l, uint32_t number);
