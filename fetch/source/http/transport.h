/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* HTTP exchanges on one network thread. Nothing here knows of files or listings.
 *
 *        submitted ──slot──▶ connecting ──▶ sent ──head()──▶ body()… ──▶ done()
 *            └────────────── any failure, close ─────────────────────────▶ done()
 *
 * Shape:   first in, first out; at most `connections` are under way while the
 *          servers speak HTTP/1, 100 once one has answered in HTTP/2; fewer where a
 *          server refuses some of them (pace.h)
 * Units:   durations in ms; times in ns, CLOCK_MONOTONIC
 * Owns:    an exchange belongs to its submitter, which keeps it until done()
 * Locking: transport_submit() from any thread, callbacks included; the queue is
 *          under `lock`, all else belongs to the network thread. Callbacks run
 *          there with no lock held and must not block on the network
 * Errors:  FETCH_ERROR; the messages hold the cause and never a URL
 * Trust:   redirects are not followed here: the submitter decides by `trusted` which
 *          host gets credentials
 */
#pragma once
#include "fetch/source/http/credentials.h"
#include "fetch/source/http/exchange.h"

struct transport;

/* Borrows `credentials`, which outlive it. */
struct transport *transport_new(struct credentials *credentials,
                                const struct transport_options *options, GError **error);
void transport_submit(struct transport *t, struct exchange *x);
/* Resumes the body of a `held` exchange. Before its done(), from any thread. */
void transport_resume(struct transport *t, struct exchange *x);
/* Exchanges under way, queued, and submitted from now on end with FETCH_CANCELLED. Returns at once.
 */
void transport_stop(struct transport *t);
/* Ends exchanges under way and queued with FETCH_CANCELLED, waits for the callbacks, frees. */
void transport_free(struct transport *t);
