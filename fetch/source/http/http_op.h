/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One request of a caller, made of one or more exchanges: redirects are
 * followed here, and error answers are read to their end, within bounds,
 * so that the connection can be kept.
 *
 *   head() true ──▶ body()… ──▶ finish(NULL)
 *   head() false, or a redirect too many ──▶ finish(error)
 *   op_again() in head() ──▶ the next exchange
 *
 * A file whose URL redirects to itself with a "/" appended, where there is a page, is
 * FETCH_DIRECTORY: a redirect alone is not believed, nor is a page behind a further redirect.
 *
 * Owns:    its URL, its reply, itself: finish() hands it to op_free()
 * Locking: the network thread's, from op_submit() on
 */
#pragma once
#include "fetch/source/base/source.h"
#include "fetch/source/http/quiet.h"
#include "fetch/source/http/transport.h"
#include "fetch/source/http/url.h"

struct http {
	struct source base;
	struct transport *transport;
	struct parsing_pool *parsing;
	struct credentials *credentials;
	struct source_options
	        options;    /* the borrowed pointers in it are NULL, but the time zone, owned */
	struct url root;    /* its path ends in '/'; no credentials */
	struct quiet quiet; /* the network thread's */
	char *root_text;
	bool slashless; /* the user's URL had no '/' at its end */
};

struct http_op;
struct http_kind {
	bool (*head)(struct http_op *op, GError **error);
	bool (*body)(struct http_op *op, const char *data, size_t length, GError **error);
	/* Calls op_free() before the request's done(). `error` names the URL. */
	void (*finish)(struct http_op *op, const GError *error);
};

struct http_op {
	struct exchange x; /* first: an op is found from its exchange */
	const struct http_kind *kind;
	struct http *http;
	struct source_request *request; /* the caller's */
	char *first_url;                /* of the first exchange */
	char *url;                      /* of this exchange */
	char *next_url;                 /* target of a redirect; NULL = none */
	GError *verdict;                /* known since the head */
	int64_t begun_ns;               /* of its first exchange */
	unsigned hops, crowded;
	uint64_t drained; /* bytes of an unused body */
	bool draining, again;
	bool renewed; /* sent once more with renewed credentials */
	bool file;    /* not a directory's URL */
	bool slash;   /* redirected to itself with a "/": perhaps a directory */
};

/* `op` is the first member of a zeroed object. `suffix`: "/" for a directory. */
void op_init(struct http_op *op, struct http *http, const struct http_kind *kind,
             struct source_request *request, const char *suffix);
void op_submit(struct http_op *op);
/* In head(): the answer is discarded, and `op` with its changes is submitted again. */
void op_again(struct http_op *op);
/* The same from the beginning: with the first URL, redirects forgotten. */
void op_restart(struct http_op *op);
/* In head(): the head suffices, the body is not needed. */
void op_enough(struct http_op *op);
void op_free(struct http_op *op);
/* Puts the URL before the message, without its secrets. */
void op_name_error(const struct http_op *op, GError **error);
/* FETCH_PROTOCOL; always false. */
bool op_protocol(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* FETCH_DIRECTORY; always false. */
bool op_directory(GError **error);
/* The error of a status that is a failure; always false. */
bool op_refused(struct http_op *op, GError **error);

/* The version of the file in the reply. */
source_version op_version(const struct http_op *op, uint64_t size);
/* Is its Last-Modified the listed time? */
bool op_as_listed(const struct http_op *op, int64_t listed_ns);
/* false with FETCH_CHANGED. */
bool op_meets(const struct http_op *op, enum source_demand demand, int64_t listed_ns,
              GError **error);

void http_list(struct source *s, struct source_list *req);
void http_stat(struct source *s, struct source_stat *req);
void http_read(struct source *s, struct source_read *req);
