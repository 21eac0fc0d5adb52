/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The head of a request of HTTP/1, for a server of one page.
 * Trust:  untrusted input; pure, no allocation
 * Source: RFC 9112
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define HTTP_REQUEST_MAX 4096

/* The status to answer with, 0: it is not complete. *head: no body is wanted. */
unsigned http_request_status(const char *data, size_t length, bool *head);
const char *http_reason(unsigned status);
