/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One mount: all parts of the worker, in the order of their creation and destruction (serve.h). */
#pragma once
#define FUSE_USE_VERSION 318
#include <fuse_lowlevel.h>
#include "fetch/base/lock.h"
#include "fetch/fill/fill.h"
#include "fetch/list/lister.h"
#include "fuse/base/settings.h"
#include "fuse/inode/write_access.h"

/* For the metrics; atomic. */
struct server_counters {
	uint64_t read_misses; /* READs of absent data */
	uint64_t evicted_files, evicted_bytes;
};

struct server {
	const struct settings *settings; /* borrowed */
	const struct keeping *keeping;   /* the keeper's end, borrowed */
	struct area *area;               /* what outlives this worker, borrowed */
	struct arena *arena;             /* names, in the area */
	bool resumed;                    /* this worker takes over a mount */
	struct store *store;
	struct source *source;
	struct mirrors *mirrors; /* of the source; NULL: it is only one */
	struct pool *disk;
	struct alarm_clock *clock;
	struct lister *lister;
	struct fill *fill;
	struct numbers *numbers; /* NULL: st_ino is ino */
	struct inode_table *inodes;
	struct trim *trim;       /* memory of inodes that were forgotten */
	struct mutex failing;    /* `failed` */
	struct refusals *failed; /* READs that failed a moment ago */
	struct rwlock names;     /* inode.h */
	struct ways *ways;       /* paths in use, and the current move */
	struct rwlock sealing;   /* access.h */
	struct mutex sealers;    /* access.h */
	struct handle_table *handles;
	struct mishaps *mishaps;     /* failures of closed files */
	bool served;                 /* it was mounted */
	struct backing *backing;     /* passthrough registration */
	struct notifier *notifier;   /* kernel cache invalidation */
	struct doubts *doubts;       /* of inodes of a worker before */
	struct waitqueue *waitqueue; /* requests that wait for a file or a descriptor */
	struct flusher *flusher;     /* makes local writes durable */
	struct shortage *shortage;   /* requests that found no space in the store */
	struct evictor *evictor;     /* frees space; NULL: not mounted */
	struct vigil *vigil;         /* requests whose process caught a signal */
	struct registry *handlers;   /* handlers of pre-content events */
	/* No object has this inode number any more: removes its marks. No lock is held */
	void (*inode_gone)(struct server *s, uint64_t ino);
	struct tracers *tracers;
	struct control *control;
	struct endpoint *endpoint; /* NULL: none */
	struct session *loop;
	struct meter *meter;          /* counts requests */
	struct deadman *deadman;      /* at the end: until no thread is blocked in the source */
	struct fuse_session *session; /* NULL until mounted */
	int second_fd;                /* /dev/fuse, for the notifier; -1: none */
	dev_t device;                 /* of the mount; 0 = unknown */
	int64_t started_ns;           /* CLOCK_REALTIME */
	uint32_t uid, gid;            /* of the mounting user */
	const struct confinement *confinement; /* borrowed */
	bool xattrs;                           /* files may have xattrs */
	bool indexed;   /* listings have all attributes, and come from the local disk */
	bool read_only; /* -o ro */
	bool noatime;   /* -o noatime */
	enum exec_writes exec_writes; /* the daemon's part of -o exec_writes */
	struct server_counters counters;
	int64_t refused_ns; /* CLOCK_MONOTONIC: an open was refused, and its name is looked up once
	                     * more; atomic */
	int64_t walked_ns;  /* CLOCK_MONOTONIC: a directory was read to its end; atomic */
};
