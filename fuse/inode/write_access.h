/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Who may write a file, and who may forbid it: the two-level model, and the handles that a
 * FUSE server counts with it.
 *
 *   count[level]   > 0 writers     0 nobody     < 0 who denies writing
 *
 * Shape:   a writer takes both levels, or both but EXEC: then it is not in the way of an
 *          exec, nor an exec in its way. Nothing passes by ALL. Who denies looks at its own
 *          level only
 *            EXEC  running programs
 *            ALL   what must not change while it is looked at: verifying, sealing
 * Who:     user opens and truncation: write_handles_open(). Evicting, refreshing:
 *          write_handles_get(). The filler: write_access_get_skipping(EXEC), while the
 *          program runs
 * Locking: none of its own: the inode's, held across each call
 * Errors:  0 or -ETXTBSY, and then nothing has changed. Counts that would overflow, a put
 *          without its get, skipping ALL: assertions
 * Source:  the RFC "add levels to inode write access"; deny_write_access() in linux/fs.h
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum write_access_level { WRITE_ACCESS_ALL, WRITE_ACCESS_EXEC, WRITE_ACCESS_LEVELS };

struct write_access { /* zeroed: nobody */
	int32_t count[WRITE_ACCESS_LEVELS];
};

int write_access_get(struct write_access *w);
void write_access_put(struct write_access *w);
/* The put names what the get skipped. */
int write_access_get_skipping(struct write_access *w, enum write_access_level skip);
void write_access_put_skipping(struct write_access *w, enum write_access_level skip);
int write_access_deny(struct write_access *w, enum write_access_level level);
void write_access_allow(struct write_access *w, enum write_access_level level);

/* Nobody denies writing at `level`. */
bool write_access_ok(const struct write_access *w, enum write_access_level level);
/* `-o exec_writes=`, and what the kernel does by itself: the VFS refuses to write a running
 * program, and to run what is written, on the FUSE inode before a request is sent, but in
 * 6.11 and the first of 6.12. So probe for it. */
enum exec_writes {
	EXEC_WRITES_KERNEL, /* deny, and the kernel sees to it: ours are only evict and refresh */
	EXEC_WRITES_DENY,   /* deny, and the kernel does not */
	EXEC_WRITES_ALLOW,  /* allow: no open is denied by us. A running program is still not
	                     * evicted or refreshed */
};

/* The open handles of an inode, from OPEN to RELEASE.
 *
 * RELEASE is asynchronous: a later OPEN overtakes it, so any count may be too high for a
 * moment, and no OPEN may be refused for that (KERNEL):
 *   - a write OPEN, or a path SETATTR(size), means that the kernel's count of execs was 0.
 *     The execs we know of step back: they no longer deny, until the last writer has gone
 *   - an exec OPEN beside write handles may be one that the kernel is about to refuse, or
 *     their RELEASEs are on the way: it is let in, and denies once the last of them has gone
 * They are not forgotten: between an exec's OPEN and the kernel's denial a truncate(2) can
 * come and go, and the program runs all the same. Hence count[EXEC] > 0 says that execs
 * there may be have stepped back, count[EXEC] < 0 that all of them deny.
 * Where we alone deny (DENY), OPENs prove nothing: -ETXTBSY may be a moment too old, and
 * the caller does well to try again for some 100 ms before it says so.
 *
 * Handles, not processes: a forked child shares its parent's. Interpreters and failed execs
 * are execs, too. A mapping keeps its handle (cached), or is not seen at all (passthrough).
 * Hard links: one inode, else the counts split.
 */
struct write_handles { /* zeroed: none */
	struct write_access access;
	uint32_t writers; /* O_WRONLY, O_RDWR */
	uint32_t mappers; /* of these, O_RDWR: it takes both to make a shared writable mapping */
	uint32_t execs;
};

#define WRITE_HANDLES_EXEC 0x20 /* the kernel's __FMODE_EXEC, in the flags of an OPEN */

/* `flags`: the OPEN's. Access mode 3 (O_WRONLY | O_RDWR: neither reads nor writes, for ioctls)
 * counts as nothing. A path SETATTR(size) is an O_WRONLY open for its duration. */
int write_handles_open(struct write_handles *h, int flags, enum exec_writes policy);
/* A RELEASE, or an open whose reply failed; the flags and the policy of its open. */
void write_handles_release(struct write_handles *h, int flags, enum exec_writes policy);
/* Writing of our own that skips nothing: denied while a program runs, whatever the policy.
 * Execs are denied until the put. */
int write_handles_get(struct write_handles *h);
void write_handles_put(struct write_handles *h);

bool write_handles_is_running(const struct write_handles *h);
/* Somebody holds it open for writing: users, not ourselves. */
bool write_handles_is_written(const struct write_handles *h);
/* A shared writable mapping may live: an unreleased O_RDWR handle in cached mode. In
 * passthrough RELEASE does not wait for mappings: there, ask the write lease as well. */
bool write_handles_may_be_mapped(const struct write_handles *h);
