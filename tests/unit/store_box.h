/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A store in a directory of its own, for tests.
 * Content: byte i of a file made here is box_byte(its number, i): data that is read back can
 *          be checked without a copy
 */
#pragma once
#include "fetch/store/disk/store.h"
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/opening.h"

struct box {
	char *root; /* owned; a temporary directory */
	char *path; /* owned; root/store */
	struct store *store;
};

void box_new(struct box *b); /* with an open store of "test:", chunks of 4 KiB */
void box_free(struct box *b);
void box_open(struct box *b);
void box_close(struct box *b);
/* As kill -9 does: everything stays as it is, except the lock. */
void box_crash(struct box *b);
/* Writes state/epoch as another boot would find it. */
void box_reboot(struct box *b);
void box_epoch_read(struct box *b, struct epoch_disk *out);
void box_epoch_write(struct box *b, struct epoch_disk *d);
/* Opens with any settings; NULL with `error`. */
struct store *box_try(struct box *b, const struct store_settings *settings, GError **error);

uint8_t box_byte(unsigned file, uint64_t i);
struct store_origin box_origin(unsigned file, uint64_t size);
struct store_file *box_create(struct box *b, const char *path, unsigned file, uint64_t size);
/* Writes and publishes chunks [first, last] of `file`. */
void box_fill(struct store_file *f, unsigned file, uint64_t first, uint64_t last);
int box_publish(struct store_file *f, unsigned file, uint64_t chunk);
/* Checks that every present chunk has the right bytes. */
void box_check(struct store_file *f, unsigned file);
struct store_file *box_open_file(struct box *b, const char *path, unsigned file);

char *box_tree(struct box *b, const char *path); /* STORE/tree/path */
char *box_state(struct box *b, const char *path);
unsigned box_count(const char *directory); /* entries */
bool box_exists(const char *path);
