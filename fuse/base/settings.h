/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The settings of `lacunafs mount`. Filled by settings_parse() (arguments.h), then read-only.
 * Units: ms, bytes; 0/NULL = default unless said otherwise
 * Owns:  every string
 */
#pragma once
#include "fetch/source/base/source.h"

/* The policy for requests pending on a dead or hung handler */
enum handler_lost { HANDLER_LOST_WAIT, HANDLER_LOST_DENY, HANDLER_LOST_SOURCE };

/* -o min_free: bytes, or a percentage, of the store's file system that fetched data leaves free */
struct min_free {
	uint64_t bytes;
	unsigned percent; /* 0: bytes */
	bool automatic;   /* 5 %, or 1 GiB if that is less */
};

struct settings {
	char *url;               /* as given: may contain credentials, never printed */
	char *source;            /* canonical, without credentials */
	GPtrArray *mirrors;      /* of char *, as url: the other mirrors, in order */
	GPtrArray *mirror_names; /* of char *, as source */
	char *mountpoint;        /* absolute */
	char *store;             /* absolute */
	bool foreground;
	bool debug;              /* libfuse's request log */
	bool owner_named;        /* uid= or gid= was given */
	bool passthrough;        /* auto (true) or no */
	unsigned overlays;       /* that may be stacked on this mount; or OVERLAYS_AUTO */
	bool confine;            /* auto (true) or no */
	bool inode32;            /* st_ino below 2^32 */
	bool keeper;             /* auto (true): a worker that dies is replaced; or no */
	bool exec_writes;        /* of running programs: allow (true) or deny */
	unsigned handler_lost;   /* enum handler_lost */
	unsigned handler_ms;     /* limit of one handler for one event */
	bool end_epoch;          /* -o end_epoch: tests */
	GPtrArray *fuse_options; /* of char *: passed through to libfuse */
	char *verify_key;        /* PEM file; NULL: published versions need not be signed */
	struct source_options source_options; /* keys: owned */
	unsigned chunk_shift;                 /* log2, 12…22 */
	unsigned wait_ms;                     /* a reader's whole wait */
	unsigned listing_ttl_ms;              /* 0: revalidate each time; UINT_MAX: never */
	uint64_t readahead_max;               /* bytes, of one sequential reader */
	uint64_t prefetch_bytes;              /* budget of all readahead */
	uint64_t quota; /* bytes that the store may use for fetched data; 0: no limit */
	struct min_free min_free;
	unsigned threads; /* session threads, 0 = auto */
	char *metrics;    /* where to serve them: address.h; NULL: nowhere */
	char *log;        /* file; NULL: STORE/state/log, in the foreground stderr */
	int ready_fd;     /* --foreground: written to when the mount answers; -1 */
	GString *words;   /* all of it, each word with its '\0', for another program: they give the
	                   * same settings in any current directory. May contain credentials */
};

/* One, or none if the store itself lies on an overlay. */
#define OVERLAYS_AUTO 3
