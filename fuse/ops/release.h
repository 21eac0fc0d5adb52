/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The RELEASE of a handle: handle_close() and its consequences. */
#pragma once
#include "fuse/inode/handle.h"

void handle_release(struct server *s, struct handle *h);
