/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A source: the remote side of a tree. It lists a directory, reports the exact attributes of one
 * entry, and reads a range; retries and handlers wrap a source.
 * Paths:   relative to the source's root, no leading or trailing '/', "" is the
 *          root; bytes as in the listing, never URL-encoded
 * Units:   bytes; times in ns since 1970 UTC; durations in ms
 * Owns:    requests belong to the caller, which keeps them until `done`
 * Locking: a source is called from any thread, with no lock held. Callbacks run
 *          on a thread of the source, never inside the call that submitted, one
 *          at a time per request; the order for a read is begin, data…, done.
 *          `done` is called exactly once; the source does not use the request after it.
 *          Callbacks do not block on the network and may submit new requests.
 * Errors:  FETCH_ERROR, LOCAL_ERROR, DENIAL_ERROR (fetch/base/error.h); the caller logs them
 */
#pragma once
#include <sys/types.h>
#include "fetch/base/error.h"
#include "fetch/base/listing.h"

struct source;
struct keyring;

/* One version of one remote file: a 64-bit hash of everything that identifies it (ETag,
 * Last-Modified, size; in a local directory: device, inode, size, mtime, ctime). 0 = none. */
typedef uint64_t source_version;

struct source_request {
	char *path;         /* owned by the caller */
	int64_t started_ns; /* CLOCK_MONOTONIC; set by source_submit() */
	unsigned attempt;   /* 0 first; for status */
	bool elsewhere;     /* out, of a failed read: a server has another version (FETCH_CHANGED),
	                     * whatever the error of the others */
	int64_t retry_ns;   /* CLOCK_MONOTONIC of the next attempt, 0 = under way now */
	void (*done)(struct source_request *req, const GError *error);
	/* private: the caller's callback, while source.c checks the contract, and whose request
	 * it is */
	struct source *guard_source;
	void (*guard_done)(struct source_request *req, const GError *error);
};

struct source_list {
	struct source_request base;
	struct listing *previous; /* for a conditional request; NULL = unconditional */
	struct listing *listing;  /* out, owned by the caller after done: NULL on error;
	                           * == previous (with a reference) on "not modified" */
};

/* Which versions of a file answer a request, by its listed time. Another is FETCH_CHANGED. */
enum source_demand { /* each demands more than the one before */
	             DEMAND_ANY,
	             DEMAND_NO_OLDER, /* than the listed time; nothing, if there is no time */
	             DEMAND_LISTED,   /* of the listed time */
};

struct source_stat {
	struct source_request base;
	uint64_t listed;   /* in: the size in the listing, perhaps rounded; 0 = none. A
	                    * contradicting answer is checked by another kind of request */
	int64_t listed_ns; /* in: the time in the listing, perhaps without seconds; 0 = none */
	enum source_demand demand; /* in: for listed_ns */
	uint64_t size;             /* out */
	int64_t mtime_ns;          /* out */
	bool mtime_known;          /* out */
	source_version version;    /* out */
};

/* The caller on whose behalf a read is made, for the events of handlers. */
struct source_cause {
	void *owner;        /* content_owner(), which lives as long as the read; NULL: none */
	pid_t pid;          /* of the calling thread; 0 = none */
	uint32_t uid;       /* its file system uid */
	uint32_t operation; /* the caller's own */
};

/* What files must consist of, by their paths; it outlives the reads that name it. Called from
 * threads of the source, with no lock held. */
struct source_proof {
	/* The version with exactly this content; 0, with `error`: none (FETCH_CHANGED: another
	 * size). */
	source_version (*version)(const struct source_proof *p, const char *path, uint64_t size,
	                          GError **error);
	/* Are these the bytes from `offset` on? All of a block of PROOF_BLOCK, or the last one. */
	bool (*check)(const struct source_proof *p, const char *path, uint64_t offset,
	              const void *data, size_t length, GError **error);
	/* Of a file that can be proven as a whole only, instead of check(): its bytes go to put(),
	 * 0 or -errno, from whatever mirror; a read fetches what lies behind the held() ones. They
	 * are delivered, without a buffer, once whole() agrees; if it does not, nothing is held.
	 * `name`: of the file at the mirror. NULL: block by block. */
	int (*put)(const struct source_proof *p, uint64_t offset, const void *data, size_t length);
	uint64_t (*held)(const struct source_proof *p);
	bool (*whole)(const struct source_proof *p, const char *name, GError **error);
};
#define PROOF_BLOCK UINT64_C(65536)
#define SOURCE_PACK_PATH 96

struct source_read {
	struct source_request base;
	uint64_t offset, length;   /* in: requested range, length > 0. Before begin() they become
	                            * the range that will be delivered: a server that ignores
	                            * Range delivers the whole file from 0 */
	uint64_t size;             /* in: the file's size as listed; another size at the source
	                            * is FETCH_CHANGED */
	source_version pinned;     /* in: 0 = any; another is FETCH_CHANGED, before any data */
	source_version version;    /* out, valid from begin() on */
	int64_t mtime_ns;          /* in: as listed */
	enum source_demand demand; /* in, for pinned 0: for mtime_ns */
	uint64_t grain; /* in: data beyond the range is useful in aligned units of this size; a
	                 * power of two, 0: as 1 */
	const struct source_proof *proof; /* in: data that fails it is an error, and is never
	                                   * delivered; the version is the proof's. NULL: none */
	bool probe; /* in: that the source has no such file is an answer, like another: it is no
	             * error of a mirror, and no other one is asked */
	struct source_cause cause;
	bool handler_pending; /* out, atomic: a handler is to answer; wait_ms does not apply */
	bool supplied; /* out, valid from begin() on: a handler supplied the data beyond the range,
	                * which takes precedence over other reads that have no answer yet */
	/* For sources that write data to a descriptor themselves, between begin() and data():
	 * returns a descriptor for [offset, +length), or -1 to use a buffer this time; the same
	 * thread calls give_back() at once. NULL: never. */
	int (*lend)(struct source_read *req, uint64_t offset, uint64_t length);
	void (*give_back)(struct source_read *req);
	/* Headers are checked; data follows. != 0: -errno, which ends the read. */
	int (*begin)(struct source_read *req);
	/* `length` bytes of the file from `offset`, in order, within the range that begin()
	 * announced. `buffer` NULL: written to the descriptor of lend(). != 0: as begin(). */
	int (*data)(struct source_read *req, uint64_t offset, const void *buffer, size_t length);
	struct { /* private: as in base */
		int (*begin)(struct source_read *req);
		int (*data)(struct source_read *req, uint64_t offset, const void *buffer,
		            size_t length);
		uint64_t offset, end; /* requested */
		uint64_t next;        /* of data() */
		bool begun, refused;
	} guard;
};

/* The version of a published tree that is in use. */
struct source_published {
	char root[65], key[65]; /* hex digits; "": whoever signed it was not checked */
	uint64_t serial, size;  /* of the index, bytes */
	uint64_t files, bytes;  /* of the tree */
	int64_t checked_ns;     /* since 1970: the source confirmed that it is the newest; 0: not in
	                         * this mount */
	bool is_signed, pinned;
};

/* A file that is part of a larger one, a *pack*, with others that a walk needs next. The source
 * reads the pack at its path as any file, and the file by its own path as well. */
struct source_packed {
	char path[SOURCE_PACK_PATH]; /* of the pack; it stands for exactly these bytes */
	uint64_t size;               /* of the pack */
	source_version version;      /* of the pack */
	uint64_t offset;             /* of the file in it */
	source_version file;         /* the file's own version */
};

struct source_ops {
	const char *name;
	void (*list)(struct source *s, struct source_list *req);
	void (*stat)(struct source *s, struct source_stat *req);
	void (*read)(struct source *s, struct source_read *req);
	/* Requests under way and later ones end with FETCH_CANCELLED, soon. May be called
	 * more than once. NULL: requests end by themselves. */
	void (*stop)(struct source *s);
	/* Ends all requests under way with FETCH_CANCELLED, waits for the callbacks, frees. */
	void (*close)(struct source *s);
	/* The name of `path` in logs and status, without credentials: a URL or a path. */
	char *(*describe)(struct source *s, const char *path);
	/* source_shape_is() of a source of several others. NULL: by `shape`. */
	bool (*listed)(const struct source *s, const char *validator);
	/* Of a source that decides after its first answer whose listings it passes on: that one, or
	 * itself. NULL: itself. */
	const struct source *(*lister)(const struct source *s);
	/* A listing of the root itself, in one entry: see source_top(). NULL: never. */
	struct listing *(*top)(const struct source *s);
	/* false: the tree is not published, or not known to be. NULL: never. */
	bool (*published)(const struct source *s, struct source_published *out);
	/* Is the file of `size` bytes in a pack? Local I/O only. NULL: never. */
	bool (*packed)(const struct source *s, const char *path, uint64_t size,
	               struct source_packed *out);
};

/* Every source begins with this. */
struct source {
	const struct source_ops *ops;
	bool xattrs; /* listings may carry extended attributes */
	/* Hash of the source's root and of the options that shape a listing; 0 = unknown. The
	 * validator of each listing has it in a line, O<16 hex digits>: see source_shape_is(). */
	uint64_t shape;
	const struct source *lists; /* of a wrapper: the source whose listings it passes on */
	/* Permissions of a directory that was listed as a file (FETCH_DIRECTORY), and of one that
	 * is a file after all; 0: listings distinguish the two. */
	uint32_t dir_mode, file_mode;
	uint64_t failures[FETCH_ERRORS]; /* private, atomic: requests that failed, by kind */
	bool cyclic; /* a directory may appear again below itself, without an identity */
};

/* Options of all sources; 0/NULL = default. Borrowed by source_open(). */
struct source_options {
	unsigned connect_ms;          /* 5,000 */
	unsigned stall_ms;            /* no progress, 10,000 */
	unsigned wait_ms;             /* longest wait for a request, 30,000: until an answer
	                               * begins, and until the last retry */
	unsigned retries;             /* after the first attempt, 3; UINT_MAX = none */
	unsigned connections;         /* per host, 16 */
	uint32_t file_mode, dir_mode; /* permissions where the source has none; 0755 */
	uint32_t uid, gid;            /* owner where the source has none */
	bool own;                     /* uid and gid replace the source's owners */
	char *index_timezone;       /* of times without one: as g_time_zone_new_identifier(), UTC */
	uint64_t index_bytes;       /* of one index page, 256 MiB */
	uint32_t index_names;       /* on one, 2,000,000 */
	uint64_t index_memory;      /* of all pages being parsed, 1 GiB */
	char **headers;             /* NULL-terminated "Name: value" */
	char *token_file;           /* bearer token, read again for each request */
	char *query_file;           /* query of each request, read again for each */
	char *ca_file;              /* extra trust anchors, PEM */
	char *cert_file, *key_file; /* a client's certificate and its key, PEM; the key may
	                             * be in the same file */
	bool digest;                /* user and password by Digest, not Basic */
	bool no_cookies;            /* cookies of the source's own host are not sent back */
	bool no_netrc;
	bool no_etag;       /* versions are Last-Modified and size, where the source reports both */
	bool offline;       /* no request leaves */
	char *index_folder; /* where the index of a published tree is kept; NULL: none is used */
	bool no_index;      /* none is used */
	bool no_verify;     /* its digests are not compared */
	bool allow_rollback;        /* an older version of a published tree is taken, too */
	const struct keyring *keys; /* one of them signs each version; NULL: none need be signed.
	                             * It outlives the source */
	bool mirrored; /* one of several mirrors. Versions of two are equal only if they prove the
	                * same version */
	unsigned mirror_retry_ms; /* see mirrors.h, as the next */
	unsigned mirror_takeover_ms;
	bool mirror_credentials; /* all of the above go to every mirror, not only to the first */
	/* Opens a token, query or netrc file, in another process: a descriptor, or -errno. NULL:
	 * this process opens it */
	int (*secret_open)(const char *path);
};

/* Is a file's time the listed one, which may lack the seconds? */
static inline bool source_time_is(int64_t mtime_ns, int64_t listed_ns)
{
	return mtime_ns >= listed_ns && mtime_ns - listed_ns < INT64_C(60000000000);
}

/* Is the listed time, 0 = unknown, that of a file that answers the demand? */
static inline bool source_time_fits(enum source_demand demand, int64_t mtime_ns, int64_t listed_ns)
{
	return demand == DEMAND_ANY || listed_ns == 0 || source_time_is(mtime_ns, listed_ns) ||
	       (demand == DEMAND_NO_OLDER && mtime_ns > listed_ns);
}

/* The version of a file of which time (HTTP's form, as Last-Modified) and size are known; never 0.
 * With no_etag it is that of all kinds of sources. */
source_version source_version_dated(const char *modified, uint64_t size);

/* Does the error of a probe say that there is no such file? A server may refuse dotfiles, or send a
 * page of its own, which has another size. */
bool source_probed_absent(const GError *error);

/* The only callers of the ops; they assert the contract above before and after. */
void source_list(struct source *s, struct source_list *req);
/* The source whose listings `s` passes on now: xattrs, shape, modes and `cyclic` are its own. */
const struct source *source_lister(const struct source *s);
/* The attributes and xattrs of the root, as the only entry of a listing (its name means nothing),
 * which the caller owns. NULL: the source does not have them, or not before it was listed. */
struct listing *source_top(const struct source *s);
bool source_published(const struct source *s, struct source_published *out);
/* Is the file of `size` bytes in a pack? From any thread; may wait for the local disk. */
bool source_packed(const struct source *s, const char *path, uint64_t size,
                   struct source_packed *out);
/* Was the listing with this validator made by this source, with its current options? */
bool source_shape_is(const struct source *s, const char *validator);
void source_stat(struct source *s, struct source_stat *req);
void source_read(struct source *s, struct source_read *req);
/* Of a wrapper: its inner source serves a request that the wrapper was called with, unchanged. The
 * caller's checks of the request go on. */
void source_pass_list(struct source *inner, struct source_list *req);
void source_pass_stat(struct source *inner, struct source_stat *req);
void source_pass_read(struct source *inner, struct source_read *req);
/* How many requests failed so, since the source was opened. Of a wrapper: of the source whose
 * listings it passes on, before any retry. */
uint64_t source_failures(const struct source *s, enum fetch_error code);
void source_stop(struct source *s);
void source_close(struct source *s);
char *source_describe(struct source *s, const char *path);
