/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source that is not asked: every request ends at once, with FETCH_UNREACHABLE. Names, kinds of
 * listings and permissions are those of the inner source, so that stored listings are its own.
 * Owns:    the inner source
 * Locking: callbacks run on a thread of its own
 */
#pragma once
#include "fetch/source/base/source.h"

/* Takes `inner`. Never fails. */
struct source *offline_new(struct source *inner);
