/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One libcurl handle, which carries one exchange and is then freed. For transport.c alone.
 *
 * A handle is never used again: libcurl 7.88.1 (curl issue 11101) keeps a pointer to the last
 * header of the transfer before, which it has freed, and appends to it when the next answer
 * begins with a folded line. A handle costs 0.6 µs, connections belong to the multi handle,
 * TLS sessions and cookies to the share.
 *
 * Owns:    its handle and header list; borrows the exchange and the context
 * Locking: the network thread's
 * Errors:  easy_error() is the only place where a result of libcurl becomes a GError, and
 *          OK without the head of an answer is one
 */
#pragma once
#include "fetch/source/http/easy_context.h"

struct easy;

bool easy_context_prepare(struct easy_context *c);
void easy_context_clear(struct easy_context *c);

/* A handle with all options of `x` set; NULL with *error. */
struct easy *easy_new(struct easy_context *c, struct exchange *x, GError **error);
void easy_free(struct easy *e);
CURL *easy_handle(const struct easy *e);
struct easy *easy_of(CURL *handle);
struct exchange *easy_exchange(const struct easy *e);
/* Records the connection of the handle. */
void easy_socket(CURL *handle, int fd);
/* The error of a transfer that ended with `result`; NULL: the whole answer arrived. */
GError *easy_error(struct easy *e, CURLcode result);
