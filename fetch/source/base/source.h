/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source: where a tree comes from. It lists a directory, tells one entry's
 * exact attributes, and reads a range; all else (retry, faults) wraps a source.
 * Paths:   relative to the source's root, no leading or trailing '/', "" is the
 *          root; bytes as in the listing, never URL-encoded
 * Units:   bytes; times in ns since 1970 UTC; durations in ms
 * Owns:    requests belong to the caller, who keeps them until `done`
 * Locking: a source is called from any thread, with no lock held. Callbacks run
 *          on a thread of the source, never inside the call that submitted, one
 *          at a time per request; the order for a read is begin, data…, done.
 *          `done` comes exactly once, and is the last touch of the request.
 *          Callbacks do not block on the network and may submit new requests.
 * Errors:  FETCH_ERROR, LOCAL_ERROR (fetch/base/error.h); logged by nobody here
 */
#pragma once
#include <sys/types.h>
#include "fetch/base/error.h"
#include "fetch/base/listing.h"

struct source;

/* One version of one remote file: a 64-bit hash of everything the source says of
 * it (ETag, Last-Modified, size; for a directory device, inode, size, mtime,
 * ctime). 0 = none. */
typedef uint64_t source_version;

struct source_request {
	char *path;         /* owned by the caller */
	int64_t started_ns; /* CLOCK_MONOTONIC; set by source_submit() */
	unsigned attempt;   /* 0 first; for status */
	int64_t retry_ns;   /* CLOCK_MONOTONIC of the next attempt, 0 = under way now */
	void (*done)(struct source_request *req, const GError *error);
	/* private: the caller's own, while source.c holds the source to the contract */
	void (*guard_done)(struct source_request *req, const GError *error);
};

struct source_list {
	struct source_request base;
	struct listing *previous; /* for a conditional request; NULL = unconditional */
	struct listing *listing;  /* out, owned by the caller after done: NULL on error;
	                           * == previous (with a reference) on "not modified" */
};

struct source_stat {
	struct source_request base;
	uint64_t listed;        /* in: the size as the listing has it, perhaps rounded; 0 = none.
	                         * What contradicts it is asked for in another way */
	uint64_t size;          /* out */
	int64_t mtime_ns;       /* out */
	bool mtime_known;       /* out */
	source_version version; /* out */
};

/* Who wants the bytes, for a source that asks somebody before it reads. */
struct source_cause {
	void *owner;        /* content_owner(), which lives as long as the read; NULL: none */
	pid_t pid;          /* of the thread; 0 = nobody */
	uint32_t uid;       /* its file system uid */
	uint32_t operation; /* the caller's own */
};

struct source_read {
	struct source_request base;
	uint64_t offset, length; /* in: wanted, length > 0. Before begin() they become what
	                          * will be delivered: a server that ignores Range
	                          * delivers the whole file from 0 */
	uint64_t size;           /* in: the file's size as listed; another size at the source
	                          * is FETCH_CHANGED */
	source_version pinned;   /* in: 0 = any; another is FETCH_CHANGED, before any data */
	source_version version;  /* out, valid from begin() on */
	int64_t mtime_ns;        /* in: as listed */
	uint64_t grain; /* in: what is delivered beyond the range is of use from one multiple
	                 * of this to another; a power of two, 0: as 1 */
	struct source_cause cause;
	bool asking;  /* out, atomic: somebody is being asked, and takes the time it takes */
	bool brought; /* out, valid from begin() on: what is delivered beyond the range is what
	               * somebody brought, and no other read that has no answer yet gets better */
	/* For sources that can place bytes themselves, between begin() and data(): a descriptor
	 * to put [offset, +length) into, -1: not this time; give_back() follows, at once, by the
	 * same thread. NULL: never. */
	int (*lend)(struct source_read *req, uint64_t offset, uint64_t length);
	void (*give_back)(struct source_read *req);
	/* Headers are checked; data follows. != 0: -errno, the read ends with it. */
	int (*begin)(struct source_read *req);
	/* `length` bytes of the file from `offset`, in order, never past what begin()
	 * announced. `buffer` NULL: they have been placed. != 0: -errno, as begin(). */
	int (*data)(struct source_read *req, uint64_t offset, const void *buffer, size_t length);
	struct { /* private: as in base */
		int (*begin)(struct source_read *req);
		int (*data)(struct source_read *req, uint64_t offset, const void *buffer,
		            size_t length);
		uint64_t offset, end; /* wanted */
		uint64_t next;        /* of data() */
		bool begun, refused;
	} guard;
};

struct source_ops {
	const char *name;
	void (*list)(struct source *s, struct source_list *req);
	void (*stat)(struct source *s, struct source_stat *req);
	void (*read)(struct source *s, struct source_read *req);
	/* What is under way, and what comes later, ends with FETCH_CANCELLED, soon. May be called
	 * more than once. NULL: it ends as it would. */
	void (*stop)(struct source *s);
	/* Ends everything under way with FETCH_CANCELLED, waits for the callbacks, frees. */
	void (*close)(struct source *s);
	/* A name for logs and status of `path`, without credentials: a URL or a path. */
	char *(*describe)(struct source *s, const char *path);
};

/* Every source begins with this. */
struct source {
	const struct source_ops *ops;
	bool xattrs; /* listings may carry extended attributes */
	/* Hash of the options that go into a listing; 0 = none do. The validator of each listing
	 * has it in a line, O<16 hex digits>: see source_shape_is(). */
	uint64_t shape;
	/* Permissions of a directory that a listing told as a file (FETCH_DIRECTORY), and of what
	 * is a file after all; 0: a listing knows one from the other, or is an older one. */
	uint32_t dir_mode, file_mode;
	bool cyclic; /* a directory may be shown again below itself, and tells no identity */
};

/* Options of all sources; 0/NULL = default. Borrowed by source_open(). */
struct source_options {
	unsigned connect_ms;          /* 5,000 */
	unsigned stall_ms;            /* no progress, 10,000 */
	unsigned wait_ms;             /* how long anybody waits for a request, 30,000: until an
	                               * answer begins, and until it is not tried again */
	unsigned retries;             /* after the first attempt, 3; UINT_MAX = none */
	unsigned connections;         /* per host, 16 */
	uint32_t file_mode, dir_mode; /* permissions where the source has none; 0755 */
	uint32_t uid, gid;            /* owner where the source has none */
	bool own;                     /* and where it has one: all belongs to these */
	char *index_timezone;       /* of times without one: as g_time_zone_new_identifier(), UTC */
	uint64_t index_bytes;       /* of one index page, 256 MiB */
	uint32_t index_names;       /* on one, 2,000,000 */
	uint64_t index_memory;      /* for all that are being parsed, 1 GiB */
	char **headers;             /* NULL-terminated "Name: value" */
	char *token_file;           /* bearer token, read again for each request */
	char *query_file;           /* query of each request, read again for each */
	char *ca_file;              /* extra trust anchors, PEM */
	char *cert_file, *key_file; /* a client's certificate and its key, PEM; the key may
	                             * be in the same file */
	bool digest;                /* user and password by Digest, not Basic */
	bool no_cookies;            /* what the source's own host sets is not sent back */
	bool no_netrc;
	bool no_etag; /* versions are told by Last-Modified and size, where both are told */
};

/* The only callers of the ops; they assert the contract above before and after. */
void source_list(struct source *s, struct source_list *req);
/* Was the listing of this validator made with the options that the source has now? */
bool source_shape_is(const struct source *s, const char *validator);
void source_stat(struct source *s, struct source_stat *req);
void source_read(struct source *s, struct source_read *req);
void source_stop(struct source *s);
void source_close(struct source *s);
char *source_describe(struct source *s, const char *path);
