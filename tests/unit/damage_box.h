/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files whose records and maps are then damaged. Chunks are of 4 KiB. */
#pragma once
#include "tests/unit/store_box.h"

#define CHUNKS 5
#define SIZE (CHUNKS * 4096)

/* 0 or -errno. */
int box_open_error(struct box *b, const char *path, unsigned file);
/* Every chunk is present. */
void box_make(struct box *b, const char *path, unsigned file, uint64_t size);
/* "f", file 1, of SIZE bytes: chunks 0, 1 and 2 are present. */
void box_make_partial(struct box *b);
/* The record of the local file at this path; its length. */
size_t box_record_read(const char *local, unsigned char data[64]);
void box_record_write(const char *local, const void *data, size_t length);
/* The map's path; caller frees. */
char *box_map(struct box *b, const char *path);
/* A file that is not bound is set aside, and the next one takes its name. */
void box_check_stale(struct box *b, const char *path, unsigned file, uint64_t size);
