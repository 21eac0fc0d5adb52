/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source whose names and attributes come from the index of a published tree (fetch/index), and
 * whose bytes come from an inner source, each block proven by the index. Where the inner source
 * has no index, it passes through.
 *
 *   unknown ──first request: .lacuna/head──▶ indexed ──a stale listing: head again──▶ indexed
 *      │                                       ▲ a kept index: at once        (perhaps another
 *      └──the source has no head──▶ plain                                         edition)
 *
 * Requests: one for the head, one for an index that is not kept; none for a directory. A head that
 *          cannot be had leaves the current edition in use: a listing that is to be revalidated
 *          gets the error, everything else is answered
 * Versions: a read is checked against the newest edition; a file that this one has in another
 *          version is FETCH_CHANGED. A lower serial is refused, unless allow_rollback. A pinned
 *          source has one edition, whatever the head says. An index never becomes none: then the
 *          kept one stays, and the revalidation fails
 * Owns:    the inner source; the editions, until it is closed
 * Locking: one mutex, never held across a call or I/O. Listings are made on threads of its own
 */
#pragma once
#include "fetch/index/digest.h"
#include "fetch/source/base/source.h"

/* Takes `inner`. `pin` NULL: none. options->index_folder is set. Never fails. */
struct source *index_source_new(struct source *inner, const struct source_options *options,
                                const struct digest *pin);
/* Of SOURCE#sha256:ROOT, the length of SOURCE, and the root; 0: it has no pin. */
size_t index_source_pin(const char *url, struct digest *pin);
