/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory as source, and requests that wait for their answer. */
#pragma once
#include <pthread.h>
#include "fetch/source/base/source.h"

struct dir_box {
	char *root; /* owned; a temporary directory */
	int fd;     /* of root/tree, the source's root */
	struct source *source;
};

void dir_box_new(struct dir_box *b);
void dir_box_free(struct dir_box *b);
void dir_box_put(struct dir_box *b, const char *path, const void *bytes, size_t length);
void dir_box_run(struct dir_box *b, const char *command); /* in root/tree, by the shell */

/* NULL with `error`. `previous` may be NULL. */
struct listing *dir_box_list(struct dir_box *b, const char *path, struct listing *previous,
                             GError **error);
const struct listing_entry *dir_box_entry(const struct listing *l, const char *name);
bool dir_box_stat(struct dir_box *b, const char *path, struct source_stat *out, GError **error);

struct dir_read {
	struct source_read read;
	uint64_t offset, length, size; /* in */
	source_version pinned;         /* in */
	int fd;                        /* in; given out in begin() */
	bool place;                    /* in: fd is for the source, too */
	int refuse_begin, refuse_data; /* in: negative errno */
	void (*before_data)(struct dir_read *r, uint64_t offset);
	void *user;
	uint64_t got; /* bytes data() was called for */
	unsigned calls, placed;
	bool begun;
	GError *error; /* owned */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
};

void dir_box_submit(struct dir_box *b, const char *path, struct dir_read *r);
/* true: no error. Frees the private members only. */
bool dir_box_wait(struct dir_read *r);
bool dir_box_read(struct dir_box *b, const char *path, struct dir_read *r);
void dir_read_clear(struct dir_read *r);
