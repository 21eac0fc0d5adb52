/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source whose reads are checked where they carry a proof (source.h); all else passes through.
 * Place:   around each source that has bytes, below mirrors and retries: a wrong block is an answer
 *          that cannot be used, so the next mirror is asked
 * Shape:   a read is widened to whole blocks of PROOF_BLOCK; a block is delivered once it is
 *          checked. Its version is the proof's: mirrors continue one another's files whatever
 *          their ETags
 * Whole:   a file that can be proven at its end only (an index) is delivered then
 * Memory:  a block for each read under way, where its pieces are not whole blocks
 * Owns:    the inner source
 * Errors:  FETCH_PROTOCOL names object, block, expected and found digest
 */
#pragma once
#include "fetch/source/base/source.h"

/* Takes `inner`. Never fails. */
struct source *proven_new(struct source *inner);
