/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The xattrs of inodes, as EROFS keeps them. The first POOL_ENTRIES different pairs of name and
 * value of at most 1 KiB are shared, 4 bytes in each inode that has one; all others are in their
 * inode's body. So memory is bounded: 34 MiB at most.
 */
#pragma once
#include <glib.h>
#include "fetch/base/error.h"

#define POOL_ENTRIES 32768u

struct xattr_pool;

struct xattr_pool *xattr_pool_new(void);
void xattr_pool_free(struct xattr_pool *p);
/* The body of the inode of `name` in the directory `fd` ("" is the directory itself), into `body`,
 * which it clears; empty: no xattrs. `path`: for messages. Without the right to read some (trusted.
 * without root), they are left out. LOCAL_ERROR E2BIG: more than EROFS can hold. */
bool xattr_pool_body(struct xattr_pool *p, int fd, const char *name, const char *path,
                     GByteArray *body, GError **error);
/* The shared area. */
const GByteArray *xattr_pool_area(const struct xattr_pool *p);
