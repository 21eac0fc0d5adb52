/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Buffered writing of one file from an offset on; several may write parts of one file.
 * Owns:   its buffer; borrows the descriptor
 * Errors: LOCAL_ERROR
 */
#pragma once
#include "fetch/base/error.h"
#include <stddef.h>
#include <stdint.h>

struct writer {
	int fd;
	uint64_t flushed; /* where the buffer belongs */
	size_t used;
	uint8_t *buffer; /* owned */
};

void writer_open(struct writer *w, int fd, uint64_t at);
void writer_close(struct writer *w); /* does not flush */
bool writer_add(struct writer *w, const void *data, size_t size, GError **error);
/* Zeros up to `offset`. */
bool writer_to(struct writer *w, uint64_t offset, GError **error);
bool writer_flush(struct writer *w, GError **error);
uint64_t writer_at(const struct writer *w);

/* All of `size` bytes at `at`. */
bool writer_put(int fd, uint64_t at, const void *data, size_t size, GError **error);
/* A new file without a name in the directory `dir`; -1 with `error`. */
int writer_unnamed(int dir, GError **error);
/* false, with errno's LOCAL_ERROR. */
bool writer_fail(GError **error, const char *what);
