/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Writes a planned index: image and extents. Digests, leaves and tail come later.
 * Errors: LOCAL_ERROR
 */
#pragma once
#include "fetch/index/format.h"
#include "fetch/publish/plan.h"

/* Where the parts are: all but the leaves' content is known from the plan. */
void image_layout(const struct plan *p, struct index_tail *out);
bool image_write(const struct plan *p, const struct index_tail *t, int fd, GError **error);
