/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reads the files of a planned tree, one after the other, on one thread.
 * Owns:   the descriptors of the last directory and file
 * Errors: LOCAL_ERROR; FETCH_CHANGED: the file is not the one that was planned
 */
#pragma once
#include "fetch/publish/spill.h"

struct reader {
	int root;                                /* borrowed: the tree */
	const struct spill_directory *directory; /* of dir_fd */
	const struct spill_entry *entry;         /* of file */
	int dir_fd, file;
};

/* Its path in the tree; caller frees. */
char *reader_path(const struct spill_directory *d, const struct spill_entry *e);
void reader_open(struct reader *r, int root);
void reader_close(struct reader *r);
/* `length` bytes from `offset` on. */
bool reader_get(struct reader *r, const struct spill_directory *d, const struct spill_entry *e,
                uint64_t offset, uint64_t length, void *out, GError **error);
