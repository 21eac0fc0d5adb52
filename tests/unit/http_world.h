/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An HTTP source with a liar as server, and requests that wait for their answer.
 * Shape:   the file is "0123456789"; its path is "dir/a file", in /root
 * Insists: that no error holds the text "secret" or a line end
 */
#pragma once
#include "fetch/source/http/http.h"
#include "tests/unit/liar.h"

#define MS INT64_C(1000000)
#define PART "HTTP/1.1 206 Partial|Content-Range: bytes 2-5/10|Content-Length: 4|ETag: \"a\"||2345"
#define WHOLE "HTTP/1.1 200 OK|Content-Length: 10|ETag: \"a\"||0123456789"
#define TO(where) "HTTP/1.1 302 Found|Content-Length: 5|Location: " where "||moved"
#define JSON                                                                                       \
	"[{\"name\":\"f\",\"type\":\"file\",\"mtime\":\"Sun, 06 Nov 1994 08:49:37 "                \
	"GMT\",\"size\":3}]"
#define JSON2                                                                                      \
	"[{\"name\":\"g\",\"type\":\"file\",\"mtime\":\"Sun, 06 Nov 1994 08:49:37 "                \
	"GMT\",\"size\":3}]"
#define PAGE(headers, body)                                                                        \
	"HTTP/1.1 200 OK|Content-Type: application/json|Connection: close|" headers "|" body

struct world {
	struct liar *liar;
	struct source *source;
	struct source_options options;
	char *root;
};

struct world *world_new(void);
/* `user`: "" or "name:password@". */
void world_open(struct world *w, const char *user, unsigned retries);
void world_connect(struct world *w, const char *user, unsigned port, unsigned retries);
void world_free(struct world *w);

struct outcome {
	bool over; /* under a lock */
	GError *error;
};

void outcome_wait(struct outcome *o);
/* An error of `code`, none for < 0; it is freed. */
void outcome_check(struct outcome *o, int code);

struct reading {
	struct source_read r; /* first */
	struct outcome outcome;
	char got[16];
	size_t count;
	int refuse;
};

void reading_start(struct reading *x, struct source *s, uint64_t offset, uint64_t length);
/* The same of another path. */
void reading_start_path(struct reading *x, struct source *s, const char *path, uint64_t offset,
                        uint64_t length);
/* Reads bytes 2 to 5 of 10. `code` < 0: it must succeed, and deliver `bytes`; else `bytes` arrive
 * before the error. */
void check_read(struct world *w, int code, const char *bytes);
void check_stat(struct world *w, int code, uint64_t size);
/* The same of a file that the listing says is about `listed` bytes long. */
void check_listed(struct world *w, const char *path, uint64_t listed, int code, uint64_t size);
struct listing *check_list(struct world *w, struct listing *previous, int code);
struct listing *check_listing(struct world *w, const char *path, struct listing *previous,
                              int code);

/* A HOME with a netrc, and no proxies in the environment. */
char *home_make(void);
void home_remove(char *home);
