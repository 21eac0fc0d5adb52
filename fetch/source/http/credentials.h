/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The user's credentials. They are sent to the source's own host only, as decided by
 * url_trusts() for every request, redirected ones included.
 * Owns:    its strings and descriptors. Input files are opened before the mount
 *          exists: certificates themselves, and the directories of
 *          token, query and netrc files, since these are replaced by rename. So a mount
 *          over them does not deadlock. libcurl reads a copy of the netrc file in memory
 * Locking: fixed after new; credentials_token() and credentials_query() from any thread
 * Errors:  FETCH_USAGE in new; FETCH_DENIED for a token that cannot be read.
 *          Messages name files and header names, never values
 */
#pragma once
#include "fetch/source/base/source.h"

struct secret_file {
	const char *what;              /* for messages, static */
	char *name;                    /* in `dir`; NULL = none */
	char *shown;                   /* its path, for messages */
	int dir;                       /* -1 = none */
	uint64_t seen;                 /* hash of its content when it was last read; 0 = never */
	int (*open)(const char *path); /* NULL = here: source_options.secret_open */
};

struct credentials {
	char *user, *password;    /* from the URL; NULL = none */
	bool digest;              /* sent by Digest authentication, not by Basic */
	char **headers;           /* "Name: value", checked; never NULL */
	struct secret_file token; /* a bearer token */
	struct secret_file query; /* of every URL that has none of its own */
	struct secret_file netrc_file;
	int netrc;           /* the copy; -1 = none */
	unsigned generation; /* grows whenever the content of one of these files is found changed */
	GBytes *ca;          /* PEM; NULL = none */
	GBytes *cert, *key;  /* PEM; both or none */
};

/* Takes user and password, which may be NULL, also on failure. */
struct credentials *credentials_new(char *user, char *password,
                                    const struct source_options *options, GError **error);
void credentials_free(struct credentials *c);

/* A request with the credentials of `generation` was denied: are there others now? Reads the files,
 * unless the answer to another request already did. */
bool credentials_renewed(struct credentials *c, unsigned generation);
/* The current bearer token, read from its file. */
char *credentials_token(struct credentials *c, GError **error);
/* The current query, without its '?'. */
char *credentials_query(struct credentials *c, GError **error);
