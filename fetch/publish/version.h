/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The current version of a published tree.
 * Errors: LOCAL_ERROR, FETCH_PROTOCOL; they name the file
 */
#pragma once
#include "fetch/index/head.h"
#include "fetch/index/index.h"

/* `folder`: of the head. NULL with `error`: it has none, or not the index that it names. */
struct index *version_open(const char *folder, struct head *out, GError **error);
