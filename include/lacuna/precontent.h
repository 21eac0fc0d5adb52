/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Pre-content events of a mount: the messages, and below them the library that speaks them
 * (liblacuna). A handler attaches to a mount and receives an event before content is returned to
 * a reader: it supplies the data, lets the source supply it, or denies the access. The events are
 * those of FAN_CLASS_PRE_CONTENT (fanotify(7)), without root, on any file system, down to page
 * faults.
 *
 * A handler connects to the mount's control socket (lacuna/control.h) and sends one line,
 *
 *   {"verb": "attach", "version": 1, "mode": "holes"|"every", "class": "pre-content"|"content",
 *    "name": "…", "backlog": N}
 *
 * Members but the verb are optional: by default the first value of each, no name, 16384 events.
 * The mount answers with one line, {"attached": 1, "inherited": true|false}, or with
 * {"error": "…"} and end of file. From then on both sides send messages: a struct lacuna_message
 * and the rest of its type, in the byte order of the machine, without padding between them. One
 * descriptor arrives with each EVENT (SCM_RIGHTS).
 *
 *   mount ──EVENT──▶ handler        the requested range; the handler writes the data to the
 *                                   descriptor, at the file's offsets
 *   mount ◀──ANSWER── handler       by the event's id, in any order
 *   mount ◀──MARK──── handler       selects files whose events the handler receives
 *   mount ──RESULT──▶ handler       of each MARK, and of each refused ANSWER
 *   mount ◀──DETACH── handler       the handler leaves, and its marks are removed
 *
 * Mode:        holes: one event for each absent range, as the mount fetches it, none for present
 *              data. every: one event for each operation, with the kernel's range, whether data
 *              is present or not; such files are opened for direct I/O
 * Descriptor:  a scratch file, sparse, of the file's size. Pages written there before the answer
 *              become the file's, also beyond the event's range (holes: whole chunks that adjoin
 *              it, other pages are dropped); a hole is data not supplied. Neither reading nor
 *              writing it causes an event. A read that waits for another event takes the data too,
 *              unless its own data is already being fetched
 * Order:       handlers of class pre-content come first, in the order in which they attached, then
 *              those of class content, which supply no data. The first denial is final
 * Lost:        a handler whose connection ends without DETACH, or whose answer takes longer than
 *              -o handler_timeout=. Its name keeps its marks; unanswered and later events wait for
 *              the next handler of that name (-o handler_lost=wait), are denied (deny), or are
 *              served by the source, without the marks (source)
 * Errors:      a malformed message ends the connection; RESULT reports other errors
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
	uint32_t length; /* bytes of the message, this header included */
	uint32_t type;   /* enum lacuna_message_type */
	uint64_t id;     /* EVENT: never 0, the same when the event is sent again. ANSWER: the
	                  * event's. MARK: chosen by the handler, best above 2^63, where no event's
	                  * is. RESULT: that of the MARK or ANSWER; 0: malformed message */
};

enum lacuna_operation {
	LACUNA_READ = 1,
	LACUNA_WRITE = 2, /* mode holes: the rest of a partly written chunk */
	LACUNA_TRUNCATE = 3,
	LACUNA_EXEC = 4,
	LACUNA_FAULT = 5, /* a page fault, where it can be recognised */
	LACUNA_FILL = 6,  /* no process waits: `lacunafs fill`, readahead */
	LACUNA_ALLOCATE = 7,
};

#define LACUNA_EVENT_AGAIN 0x1u /* flags: sent to a handler before, which did not answer it */

struct lacuna_event {
	struct lacuna_message header;
	uint64_t offset, length; /* bytes. holes: whole chunks, but at the end of the file. every:
	                          * whole pages, not cut off at the end; length may be 0 */
	uint64_t size, ino;      /* of the file, as stat(2) reports them in the mount */
	uint32_t operation;      /* enum lacuna_operation */
	uint32_t flags;          /* LACUNA_EVENT_… */
	uint32_t pid, tid, uid;  /* caller, as the daemon sees it; pid 0: no process waits */
	uint32_t path_length;    /* bytes of `path`, which has no NUL */
	char path[];             /* of the file, relative to the mount's root */
};

enum lacuna_verdict {
	LACUNA_ALLOW = 1, /* the supplied data becomes the file's. holes: it must cover the range;
	                   * every: the rest of the range stays as it is */
	LACUNA_FETCH = 2, /* the same, and the source supplies the missing data */
	LACUNA_DENY = 3,
};

/* RESULT of a refused answer: EINVAL, no such verdict or errno: the event stays pending; ENOENT,
 * no event of that id is pending on this handler; EIO, allowed, but the data was not supplied: the
 * waiting call failed with EIO. */
struct lacuna_answer {
	struct lacuna_message header;
	uint32_t verdict; /* enum lacuna_verdict */
	uint32_t error; /* DENY: 0 (EPERM), EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC or EDQUOT, as
	                 * FAN_DENY_ERRNO(); else 0 */
};

enum lacuna_scope {
	LACUNA_MARK_MOUNT = 1,
	LACUNA_MARK_CHILDREN = 2, /* the direct children of a directory */
	LACUNA_MARK_FILE = 3,
};

enum lacuna_mark_flags {
	LACUNA_MARK_ADD = 1,
	LACUNA_MARK_REMOVE = 2,
	LACUNA_MARK_IGNORE = 4, /* with ADD or REMOVE: an ignore mark, which exempts files */
	LACUNA_MARK_FLUSH = 8,  /* alone: removes all marks and ignore marks of the scope */
};

/* RESULT: 0; ENOENT, no such mark to remove; EINVAL; ENOSPC, the mount has 2^20 marks; EIO, the
 * mark would end events of a file whose last supplied data could not be stored. Data of earlier
 * answers is stored before the RESULT. */
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

/* The library. Every function returns 0, or the value it names, or a negative errno, and leaves
 * errno unchanged. Several threads may use a handler at once; lacuna_close() comes last. */

struct lacuna_handler;

enum lacuna_mode { LACUNA_HOLES = 0, LACUNA_EVERY = 1 };
enum lacuna_class { LACUNA_CLASS_PRE_CONTENT = 0, LACUNA_CLASS_CONTENT = 1 };

struct lacuna_options {
	size_t size;      /* sizeof(struct lacuna_options), so that it can grow */
	uint32_t mode;    /* enum lacuna_mode */
	uint32_t class_;  /* enum lacuna_class */
	const char *name; /* borrowed; NULL: none. ≤ LACUNA_NAME_MAX, printable ASCII, no " or \ */
	uint32_t backlog; /* events that may be pending on this handler; 0: LACUNA_BACKLOG */
};

/* An event that the handler has to answer: owned by the caller until lacuna_respond(). */
struct lacuna_request {
	uint64_t id;
	uint64_t offset, length; /* bytes: struct lacuna_event has the rules */
	uint64_t size, ino;
	uint32_t operation; /* enum lacuna_operation */
	uint32_t flags;
	uint32_t pid, tid, uid;
	int fd;     /* scratch file, to supply the data; owned, closed with the request */
	char *path; /* relative to the mount's root, NUL-terminated; owned */
};

/* Attaches to the mount that contains `path`. `options` NULL: all defaults. *inherited (may be
 * NULL): 1 if the handler takes over the marks of a lost handler of its name.
 * -ENOENT, -ENOTDIR…: of `path`; -ENOTTY: not in a lacunafs mount, or one without handlers;
 * -EACCES: another user's mount; -EINVAL: options; -EAGAIN: too many clients or handlers; -EBUSY:
 * a handler of that name is attached; -ECONNREFUSED, -ETIMEDOUT: the daemon does not answer;
 * -EPROTO.
 * The kernel's counterpart: fanotify_init(FAN_CLASS_PRE_CONTENT). */
int lacuna_attach(const char *path, const struct lacuna_options *options,
                  struct lacuna_handler **out, int *inherited);
/* Detaches: the handler's events go to the remaining handlers or to the source, its marks are
 * removed. `lost` not 0: it is lost instead, as if the process had died. First ends every
 * lacuna_next() and lacuna_loop() with -ESHUTDOWN; frees. NULL: no-op. */
void lacuna_close(struct lacuna_handler *h, int lost);
/* For poll(2): readable when lacuna_next() has something to process. Borrowed. */
int lacuna_fd(const struct lacuna_handler *h);
/* Adds or removes a mark, or an ignore mark (LACUNA_MARK_IGNORE). `path`: of the file or the
 * directory; MOUNT: ignored, may be NULL. Waits for the mount's result. lacuna_mark_fd() takes an
 * open file. The kernel's counterpart: fanotify_mark(FAN_PRE_ACCESS). */
int lacuna_mark(struct lacuna_handler *h, unsigned flags, unsigned scope, const char *path);
int lacuna_mark_fd(struct lacuna_handler *h, unsigned flags, unsigned scope, int fd);
int lacuna_mark_ino(struct lacuna_handler *h, unsigned flags, unsigned scope, uint64_t ino);
/* The next event, or -EAGAIN after `timeout_ms` (-1: no limit, 0: at once). -ESHUTDOWN: stopped or
 * closed; -ECONNRESET: the mount ended, or gave this handler up; -EPROTO; -EMFILE: an event
 * arrived whose descriptor could not be opened, and was denied with EPERM, as the kernel does. */
int lacuna_next(struct lacuna_handler *h, int timeout_ms, struct lacuna_request **out);
/* Answers a request, closes its descriptor and frees it, also on failure except -EINVAL (no such
 * verdict or errno). `error`: a positive errno for LACUNA_DENY, 0 for EPERM. Does not wait for the
 * mount to accept the answer: lacuna_refusals() counts refusals. */
int lacuna_respond(struct lacuna_handler *h, struct lacuna_request *r, unsigned verdict, int error);
uint64_t lacuna_refusals(const struct lacuna_handler *h);
/* Calls `answer` for each event, on `threads` threads (≥ 1) of its own, and responds with its
 * result: 0 LACUNA_ALLOW, 1 LACUNA_FETCH, a negative errno LACUNA_DENY with it (EIO for one that
 * the protocol excludes). Returns when the mount ends (-ECONNRESET) or after lacuna_stop() (0). */
int lacuna_loop(struct lacuna_handler *h, unsigned threads,
                int (*answer)(void *user, const struct lacuna_request *r), void *user);
/* Ends lacuna_loop(), lacuna_next() and lacuna_mark(), permanently; async-signal-safe. */
void lacuna_stop(struct lacuna_handler *h);

#ifdef __cplusplus
}
#endif
