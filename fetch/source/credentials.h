/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the user gave to be let in, and to whom it may be said: the source's own
 * host, decided by url_trusts() for every request, redirected ones included.
 * Owns:    its strings and descriptors. Inputs that are files are opened before
 *          there is a mount: netrc itself, and the token file's directory, since
 *          a token is replaced by rename. So a mount over them does not deadlock
 * Locking: fixed after new; credentials_token() from any thread
 * Errors:  FETCH_USAGE in new; FETCH_DENIED for a token that cannot be read.
 *          Messages name files and header names, never values
 */
#pragma once
#include "fetch/source/source.h"

struct credentials {
	char *user, *password; /* from the URL; NULL = none */
	char **headers;        /* "Name: value", checked; never NULL */
	char *token_name;      /* of the token file in token_dir; NULL = none */
	char *token_shown;     /* its path, for messages */
	int token_dir;         /* -1 = none */
	int netrc;             /* -1 = none */
	GBytes *ca;            /* PEM; NULL = none */
};

/* Takes user and password, which may be NULL, also on failure. */
struct credentials *credentials_new(char *user, char *password,
                                    const struct source_options *options, GError **error);
void credentials_free(struct credentials *c);

/* The bearer token as it stands in its file now. */
char *credentials_token(const struct credentials *c, GError **error);
