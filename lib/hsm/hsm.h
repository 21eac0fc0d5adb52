/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* lacunafs-hsm.so, a library to be preloaded (lacunafs hsm): fanotify(7)'s pre-content events for
 * the files of lacunafs mounts, as Linux 6.14 has them for local file systems. Everything else is
 * the kernel's.
 *
 *                       ┌─ epoll: the descriptor that the program has ──┐
 *    mount ──events──▶ connection (liblacuna)                           │
 *    mount ──events──▶ connection                                       ├──▶ read() ──▶ program
 *    other file systems ──events──▶ the kernel's group, hidden          │
 *    events taken from a connection that did not fit ──▶ eventfd ───────┘
 *
 * Group:   made by fanotify_init() with FAN_CLASS_PRE_CONTENT; each mount it marks something in is
 *          a connection. The kernel's group is made when something else is marked, or another event
 *          than FAN_PRE_ACCESS is asked for. Its descriptor is a real one, of an epoll instance:
 *          any call can poll it. The library has no threads: a group survives a fork
 * Event:   its descriptor is that of the scratch file that came with it. It stays the program's;
 *          the kernel, too, finds an event by its number after it was closed
 * Locking: one lock, never recursive; signals are held off while it is held; no call that waits
 *          for more than a mount's answer to a mark is made under it
 * Errors:  0 or -errno inside; hooks (hooks_*.c) set errno
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include "lacuna/precontent.h"
#include "lib/hsm/real.h"
#include "lib/hsm/rules.h"
#include "lib/hsm/table.h"

sigset_t hsm_lock(void);
void hsm_unlock(const sigset_t *before);
/* This thread holds the lock: its calls of hooked names go to libc. */
extern _Thread_local bool hsm_inside __attribute__((tls_model("initial-exec")));

/* The file of an event, as the program must see it behind the descriptor. */
struct file {
	unsigned refs;
	dev_t dev; /* in the mount */
	ino_t ino;
	dev_t scratch_dev; /* of the descriptor itself: another file there is not the event's */
	ino_t scratch_ino;
	char *path; /* owned; absolute */
	/* The caller that waits for the event holds the file's lock in the kernel, as a writer
	 * does: a change of attributes before the answer would wait for itself. */
	bool locked;
};

struct mark {
	struct mark *next;
	unsigned type; /* FAN_MARK_INODE, _MOUNT, _FILESYSTEM */
	uint64_t ino;  /* FAN_MARK_INODE */
	bool directory;
	struct rules_mark is;
};

struct connection { /* to a mount */
	struct connection *next;
	dev_t dev;
	char *point, *root; /* owned; where it is mounted; its directory that is shown there */
	struct lacuna_handler *handler; /* its descriptors are hidden; NULL: it has gone */
	struct mark *marks;             /* owned */
};

struct hsm_event {
	struct hsm_event *next;
	struct connection *from;        /* borrowed; NULL: the mount has gone */
	struct lacuna_request *request; /* owned; its descriptor is not: the program owns it */
	struct file *file;              /* counted; NULL: the program has none yet */
	int fd;                         /* the number that the program answers with */
};

struct group {
	unsigned refs;        /* descriptors, and calls under way */
	unsigned descriptors; /* the program's */
	bool left;            /* the last of them was closed */
	unsigned flags, event_flags;
	int epoll, ready, held; /* hidden; `ready`: something is queued; `held`: held_by_others() */
	int kernel;             /* hidden; the kernel's group; -1: none */
	struct connection *connections;
	struct hsm_event
	        *queue; /* owned; received from a connection, not read by the program yet */
	struct hsm_event
	        *given;     /* owned; read by the program, and not answered; the last one first */
	struct group *next; /* in the list of all groups */
};

/* group.c */
int group_new(unsigned flags, unsigned event_flags); /* the program's descriptor */
void group_ref(struct group *g);
void group_unref(struct group *g);
/* One more descriptor of it, one less; after the last one the group leaves its mounts. */
void group_opened(struct group *g);
void group_closed(struct group *g);
/* The kernel's group, made if there is none; -errno: the kernel's. */
int group_kernel(struct group *g);
int group_watch(struct group *g, int fd);
/* Every group, first to last: NULL, then the one before. */
struct group *group_next(const struct group *before);
/* At the end of the process. */
void groups_leave(void);

/* fork.c: tells whether this process is the only one that has the group. */
int held_new(void); /* hidden; -errno */
bool held_by_others(int held);
void fork_prepare(void);  /* once, when the library is loaded */
void process_leave(void); /* at the end of main() and in _exit(): the process ends */
bool process_leaves(void);

/* connection.c */
/* For the mount of `fd`; *out: NULL if that is no lacunafs mount. */
int connection_get(struct group *g, int fd, const struct stat *st, struct connection **out);
struct connection *connection_find(const struct group *g, dev_t dev);
/* `lost`: another process continues with it. */
void connection_free(struct connection *c, bool lost);
/* The next event, or -EAGAIN, -EMFILE. -ECONNRESET: the mount has gone, and `c` with it, or it gave
 * this handler up, and `c` is connected anew. */
int connection_next(struct group *g, struct connection *c, struct hsm_event **out);
/* Tells the mount that the effect of a mark changes: enum rules_effect. */
int connection_tell(struct connection *c, const struct mark *m, unsigned before, unsigned after);
/* May a read of this file be an event for the program? */
bool connection_watches(const struct connection *c, uint64_t ino);
void connection_answer(struct connection *c, struct lacuna_request *r, bool allow, int error);
void event_drop(struct hsm_event *e);

/* mark.c */
int group_mark(struct group *g, unsigned flags, uint64_t mask, int dfd, const char *path);

/* read.c: 0 or more bytes, -errno, NOT_A_GROUP; without the lock */
enum { NOT_A_GROUP = -100000 };
ssize_t group_read(int fd, void *buffer, size_t size);
ssize_t group_write(int fd, const void *data, size_t size);
bool group_ready(struct group *g); /* an event can be read without waiting */
int group_bytes(struct group *g);  /* bytes that can be read: FIONREAD */

/* kernel.c: the events of the kernel's group; 0 or more bytes, -errno */
ssize_t kernel_read(struct group *g, void *buffer, size_t size);

/* file.c */
/* Makes the descriptor of `r` this file for the program; counted for the caller. NULL: ENOMEM. */
struct file *file_put(const struct connection *c, const struct lacuna_request *r);
/* Likewise; takes over `path`, also on failure. */
struct file *file_put_path(int fd, dev_t dev, ino_t ino, char *path);
void file_unref(struct file *f);
/* The file of an event's descriptor, counted; NULL: none. Without the lock. */
struct file *file_of(int fd);
struct file *file_of_path(const char *path); /* /proc/self/fd/N and the like */
int file_stat(const struct file *f, int fd, struct stat *st);
/* Is the file still there by that name? */
bool file_named(const struct file *f);
