/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pre-content events of a mount: the messages, and below them the library that speaks them
 * (liblacuna). A handler attaches to a mount and is asked before content is given out: it brings
 * the bytes, has the source bring them, or denies them. What fanotify(7) does with
 * FAN_CLASS_PRE_CONTENT, without root, on any file system, at the grain of page faults.
 *
 * A handler connects to the mount's control socket (lacuna/control.h) and sends one line,
 *
 *   {"verb": "attach", "version": 1, "mode": "holes"|"every", "class": "pre-content"|"content",
 *    "name": "…", "backlog": N}
 *
 * all but the verb may be left out: the first of each, no name, 16384 events. It gets a line back,
 * {"attached": 1, "inherited": true|false}, or {"error": "…"} and the end. From then on both send
 * messages: a struct lacuna_message and what its type says, in the byte order of the machine,
 * without padding between them. With each EVENT comes one descriptor (SCM_RIGHTS).
 *
 *   mount ──EVENT──▶ handler        which bytes are wanted; what the handler brings it writes to
 *                                   the descriptor, at the file's offsets
 *   mount ◀──ANSWER── handler       by the event's id, in any order
 *   mount ◀──MARK──── handler       which files it is to be asked for
 *   mount ──RESULT──▶ handler       of each MARK, and of each ANSWER that was refused
 *   mount ◀──DETACH── handler       it leaves of its own will: its marks go with it
 *
 * Mode:        holes: one event for each absent range, as the mount fetches it, none once it is
 *              present. every: one for each operation, present or not, with the kernel's range;
 *              such files are opened for direct I/O
 * Descriptor:  a scratch file, sparse, of the file's size. What was written there by the time of
 *              the answer is the file's, by whole pages; also beyond the event's range. What was
 *              not written was not brought. Neither reading nor writing it causes an event. A read
 *              that waits for the answer to another event gets it, too, unless its own bytes are
 *              on their way by then
 * Order:       of several handlers those of class pre-content come first, in the order in which
 *              they attached, then those of class content, who bring nothing. The first that
 *              denies ends it
 * Lost:        a handler whose connection ends without DETACH, or who takes longer for an answer
 *              than -o handler_timeout=. Its marks stay, by its name; what it did not answer, and
 *              what comes, waits for who attaches by the same name and inherits the marks
 *              (-o handler_lost=wait), or is denied (deny), or comes from the source (source)
 * Errors:      whatever is not as said here ends the connection; RESULT tells what is less bad
 * Source:      linux/fanotify.h, include/linux/fsnotify.h and fs/notify/fanotify/ of 6.14
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LACUNA_PRECONTENT_VERSION 1
#define LACUNA_MESSAGE_MAX 8192 /* bytes, header included */
#define LACUNA_NAME_MAX 63      /* bytes of a handler's name */
#define LACUNA_BACKLOG 16384    /* events, as the kernel's queue */

enum lacuna_message_type {
	LACUNA_EVENT = 1,
	LACUNA_ANSWER = 2,
	LACUNA_MARK = 3,
	LACUNA_RESULT = 4,
	LACUNA_DETACH = 5,
};

struct lacuna_message {
	uint32_t length; /* bytes of all of it, this header included */
	uint32_t type;   /* enum lacuna_message_type */
	uint64_t id;     /* EVENT: of the event, never 0, the same when it is given again. ANSWER:
	                  * the event's. MARK: the handler's own, best above 2^63, where no event's
	                  * is. RESULT: of what it is the result; 0: the mount did not understand */
};

enum lacuna_operation {
	LACUNA_READ = 1,
	LACUNA_WRITE = 2, /* mode holes: the rest of a chunk that is written in part */
	LACUNA_TRUNCATE = 3,
	LACUNA_EXEC = 4,
	LACUNA_FAULT = 5, /* where it can be told */
	LACUNA_FILL = 6,  /* nobody waits: `lacunafs fill`, read-ahead */
	LACUNA_ALLOCATE = 7,
};

#define LACUNA_EVENT_AGAIN 0x1u /* flags: it was given to a handler before, who did not answer */

struct lacuna_event {
	struct lacuna_message header;
	uint64_t offset, length; /* bytes. holes: whole chunks, but at the end of the file. every:
	                          * whole pages, not cut off at the end; length may be 0 */
	uint64_t size, ino;      /* of the file, as stat(2) tells them in the mount */
	uint32_t operation;      /* enum lacuna_operation */
	uint32_t flags;          /* LACUNA_EVENT_… */
	uint32_t pid, tid, uid;  /* who asks, as the mount's process sees them; pid 0: nobody */
	uint32_t path_length;    /* bytes of `path`, which has no NUL */
	char path[];             /* of the file, relative to the mount's root */
};

enum lacuna_verdict {
	LACUNA_ALLOW = 1, /* what was brought is the file's. holes: all of the range has to be;
	                   * every: what was brought counts, what was not is as it is */
	LACUNA_FETCH = 2, /* the same, and what was not brought comes from the source */
	LACUNA_DENY = 3,
};

/* RESULT of one that is refused: EINVAL, no such verdict or errno: the event stays; ENOENT, no
 * event of that id waits for this handler; EIO, allowed and not brought: who waits was told EIO. */
struct lacuna_answer {
	struct lacuna_message header;
	uint32_t verdict; /* enum lacuna_verdict */
	uint32_t error; /* DENY: 0 (EPERM), EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC or EDQUOT, as
	                 * FAN_DENY_ERRNO(); else 0 */
};

enum lacuna_scope {
	LACUNA_MARK_MOUNT = 1,
	LACUNA_MARK_CHILDREN = 2, /* the files right in a directory */
	LACUNA_MARK_FILE = 3,
};

enum lacuna_mark_flags {
	LACUNA_MARK_ADD = 1,
	LACUNA_MARK_REMOVE = 2,
	LACUNA_MARK_IGNORE = 4, /* with one of these: of the marks that except */
	LACUNA_MARK_FLUSH = 8,  /* alone: every mark of that scope goes, and every exception */
};

/* RESULT: 0; ENOENT, no such mark to remove; EINVAL; EIO, the file is not to be asked for any more,
 * and what was last brought of it could not be stored. What was answered before comes before. */
struct lacuna_mark {
	struct lacuna_message header;
	uint32_t scope, flags;
	uint64_t ino; /* st_ino in the mount, of the file or the directory; MOUNT, FLUSH: 0 */
};

struct lacuna_result {
	struct lacuna_message header;
	uint32_t error; /* 0 or a positive errno */
	uint32_t reserved;
};

/* The library. Every function returns 0, or what it says, or a negative errno, and leaves errno
 * alone. A handler may be used by several threads at once; lacuna_close() comes last. */

struct lacuna_handler;

enum lacuna_mode { LACUNA_HOLES = 0, LACUNA_EVERY = 1 };
enum lacuna_class { LACUNA_CLASS_PRE_CONTENT = 0, LACUNA_CLASS_CONTENT = 1 };

struct lacuna_options {
	size_t size;      /* sizeof(struct lacuna_options), so that it can grow */
	uint32_t mode;    /* enum lacuna_mode */
	uint32_t class_;  /* enum lacuna_class */
	const char *name; /* borrowed; NULL: none. ≤ LACUNA_NAME_MAX, printable ASCII, no " or \ */
	uint32_t backlog; /* events that may wait for this handler; 0: LACUNA_BACKLOG */
};

/* What a handler has to answer: the caller's until lacuna_respond(). */
struct lacuna_request {
	uint64_t id;
	uint64_t offset, length; /* bytes: struct lacuna_event has the rules */
	uint64_t size, ino;
	uint32_t operation; /* enum lacuna_operation */
	uint32_t flags;
	uint32_t pid, tid, uid;
	int fd;     /* to bring the bytes through; the request's, closed with it */
	char *path; /* relative to the mount's root, NUL-terminated; the request's */
};

/* Attaches to the mount that `path` lies in. `options` NULL: all defaults. *inherited (NULL: not
 * asked for): 1 if the marks of a lost handler of that name came with it.
 * -ENOENT, -ENOTDIR…: of `path`; -ENOTTY: not in a mount of lacunafs, or one without handlers;
 * -EACCES: of another user; -EINVAL: options; -EAGAIN: too many clients; -EBUSY: a handler of that
 * name is attached; -ECONNREFUSED, -ETIMEDOUT: nobody answers; -EPROTO.
 * The kernel's counterpart: fanotify_init(FAN_CLASS_PRE_CONTENT). */
int lacuna_attach(const char *path, const struct lacuna_options *options,
                  struct lacuna_handler **out, int *inherited);
/* Leaves: its events go to the handlers that are left, or come from the source, and the marks go.
 * `lost` not 0: as if it had died instead. Ends every lacuna_next() with -ESHUTDOWN first, and
 * lacuna_loop(); frees. NULL: nothing. */
void lacuna_close(struct lacuna_handler *h, int lost);
/* For poll(2): readable when lacuna_next() has something to look at. Borrowed. */
int lacuna_fd(const struct lacuna_handler *h);
/* Adds, removes (LACUNA_MARK_REMOVE), excepts (LACUNA_MARK_IGNORE). `path`: of the file or the
 * directory; MOUNT: ignored, may be NULL. Waits for the mount's result. lacuna_mark_fd(): of an
 * open file. The kernel's counterpart: fanotify_mark(FAN_PRE_ACCESS). */
int lacuna_mark(struct lacuna_handler *h, unsigned flags, unsigned scope, const char *path);
int lacuna_mark_fd(struct lacuna_handler *h, unsigned flags, unsigned scope, int fd);
int lacuna_mark_ino(struct lacuna_handler *h, unsigned flags, unsigned scope, uint64_t ino);
/* The next event, or -EAGAIN after `timeout_ms` (-1: none, 0: at once). -ESHUTDOWN: closed here;
 * -ECONNRESET: the mount has gone, or has given this handler up; -EPROTO; -EMFILE: an event came
 * whose descriptor could not be opened, and was denied with EPERM, as the kernel does. */
int lacuna_next(struct lacuna_handler *h, int timeout_ms, struct lacuna_request **out);
/* Answers, closes its descriptor and frees it, also on failure but -EINVAL (no such verdict or
 * errno: it stays). `error`: a positive errno for LACUNA_DENY, 0 for EPERM. Does not wait for the
 * mount's opinion: what it refuses, lacuna_refusals() counts. */
int lacuna_respond(struct lacuna_handler *h, struct lacuna_request *r, unsigned verdict, int error);
uint64_t lacuna_refusals(const struct lacuna_handler *h);
/* Calls `answer` for each event, on `threads` threads (≥ 1) of its own, and responds with what it
 * returns: 0 LACUNA_ALLOW, 1 LACUNA_FETCH, a negative errno LACUNA_DENY with it (one that cannot
 * be is EIO). Returns when the mount has gone (-ECONNRESET) or lacuna_stop() was called (0). */
int lacuna_loop(struct lacuna_handler *h, unsigned threads,
                int (*answer)(void *user, const struct lacuna_request *r), void *user);
/* Ends lacuna_loop(), lacuna_next() and lacuna_mark(), for good; async-signal-safe. */
void lacuna_stop(struct lacuna_handler *h);

#ifdef __cplusplus
}
#endif
