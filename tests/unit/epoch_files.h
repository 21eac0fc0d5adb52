/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Three files, of which chunks are trusted or doubted after the end of a session: "whole" (1), of
 * which every chunk is present, "part" (2), with chunks 1 to 3, and "single" (3), of one chunk. */
#pragma once
#include "tests/unit/store_box.h"

#define CHUNKS 6
#define SIZE (CHUNKS * 4096 - 100)

void epoch_files_make(struct box *b);
/* The numbers of trusted and of doubtful chunks. */
void epoch_file_check(struct box *b, const char *path, unsigned file, unsigned present,
                      unsigned doubtful);
/* All that were made, of each file. */
void epoch_files_trusted(struct box *b);
void epoch_files_doubted(struct box *b);
/* Verifies each chunk, none of which is damaged. */
void epoch_file_verify(struct box *b, const char *path, unsigned file);
