/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Errors of a fetch or a listing.
 * Three domains: FETCH_ERROR for failures of the remote side, LOCAL_ERROR for those of the local
 * side, DENIAL_ERROR for what a handler denied (the code of both is the errno). A GError's message
 * names the file or URL and the cause on one line and never a credential.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define FETCH_ERROR fetch_error_quark()
#define LOCAL_ERROR local_error_quark()
#define DENIAL_ERROR denial_error_quark()

enum fetch_error {
	FETCH_UNREACHABLE, /* no connection, no name, TLS refused */
	FETCH_TIMEOUT,     /* a deadline passed */
	FETCH_DENIED,      /* 401, 403, EACCES at the source */
	FETCH_MISSING,     /* 404, 410, ENOENT at the source */
	FETCH_CHANGED,     /* another version than the pinned one */
	FETCH_PROTOCOL,    /* the answer does not match the request */
	FETCH_SERVER,      /* 5xx, 429, EIO at the source */
	FETCH_CANCELLED,   /* the mount ends, or the request was cancelled */
	FETCH_DIRECTORY,   /* requested as a file, but a directory at the source */
	FETCH_USAGE,       /* an invalid URL, scheme or option */
};

#define FETCH_ERRORS (FETCH_USAGE + 1) /* how many kinds */

/* The kind's name in status and metrics; NULL: no failure of a source (cancelled, directory,
 * usage). */
const char *fetch_error_class(enum fetch_error code);

GQuark fetch_error_quark(void);
GQuark local_error_quark(void);
GQuark denial_error_quark(void);

/* The positive errno a file system caller sees: EACCES for DENIED; ENOENT for
 * MISSING and EISDIR for DIRECTORY where `listing`; the code itself for LOCAL_ERROR and
 * DENIAL_ERROR, EIO otherwise.
 */
int fetch_error_errno(const GError *error, bool listing);

/* Whether the same request may succeed in a moment. */
bool fetch_error_transient(const GError *error);
