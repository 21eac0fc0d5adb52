/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Write access to a file, granted or denied: the two-level model, and the handles that a
 * FUSE server counts with it.
 *
 *   count[level]   > 0 writers     0 none     < 0 deniers
 *
 * Shape:   a writer takes both levels; a denier checks its own level only
 *            EXEC  running programs
 *            ALL   files that must not change meanwhile: verifying, sealing
 * Users:   user opens and truncation: write_handles_open(). Evicting, refreshing:
 *          write_handles_get(). Fetches take none: they run while the program runs
 * Locking: none of its own: the inode's, held across each call
 * Errors:  0 or -ETXTBSY, and then nothing has changed. Counts that would overflow, a put
 *          without its get: assertions
 * Source:  the RFC "add levels to inode write access"; deny_write_access() in linux/fs.h
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum write_access_level { WRITE_ACCESS_ALL, WRITE_ACCESS_EXEC, WRITE_ACCESS_LEVELS };

struct write_access { /* zeroed: no access */
	int32_t count[WRITE_ACCESS_LEVELS];
};

int write_access_get(struct write_access *w);
void write_access_put(struct write_access *w);
int write_access_deny(struct write_access *w, enum write_access_level level);
void write_access_allow(struct write_access *w, enum write_access_level level);

/* No denier at `level`. */
bool write_access_ok(const struct write_access *w, enum write_access_level level);
/* `-o exec_writes=`, and the kernel's own part: the VFS refuses to write a running
 * program, and to run a file open for writing, on the FUSE inode before a request is sent, except
 * in 6.11 and the first of 6.12. So probe for it. */
enum exec_writes {
	EXEC_WRITES_KERNEL, /* deny, enforced by the kernel; the daemon checks evict and refresh */
	EXEC_WRITES_DENY,   /* deny, enforced by the daemon */
	EXEC_WRITES_ALLOW,  /* allow: the daemon denies no open. A running program is still not
	                     * evicted or refreshed */
};

/* The open handles of an inode, from OPEN to RELEASE.
 *
 * RELEASE is asynchronous: a later OPEN overtakes it, so any count may be too high for a
 * moment, and no OPEN may be refused for that (KERNEL):
 *   - a write OPEN, or a path SETATTR(size), means that the kernel's count of execs was 0.
 *     The known execs are suspended: they no longer deny, until the last writer is released
 *   - an exec OPEN beside write handles may be one that the kernel is about to refuse, or
 *     their RELEASEs are under way: it is admitted, and denies once the last of them is released
 * Suspended execs are not forgotten: a truncate(2) can begin and end between an exec's OPEN and
 * the kernel's denial, and the program runs all the same. Hence count[EXEC] > 0 means that execs,
 * if any, are suspended, count[EXEC] < 0 that all of them deny.
 * Where the daemon alone denies (DENY), OPENs prove nothing: -ETXTBSY may be outdated by a moment,
 * and the caller should retry for some 100 ms before it reports it.
 *
 * Handles, not processes: a forked child shares its parent's. Interpreters and failed execs
 * are execs, too. A mapping keeps its handle (cached), or is invisible (passthrough).
 * Hard links: one inode, else the counts would split.
 */
struct write_handles { /* zeroed: none */
	struct write_access access;
	uint32_t writers; /* O_WRONLY, O_RDWR */
	uint32_t mappers; /* of these, O_RDWR: a shared writable mapping needs both */
	uint32_t execs;
};

#define WRITE_HANDLES_EXEC 0x20 /* the kernel's __FMODE_EXEC, in the flags of an OPEN */

/* `flags`: the OPEN's. Access mode 3 (O_WRONLY | O_RDWR: neither reads nor writes, for ioctls)
 * is ignored. A path SETATTR(size) is an O_WRONLY open for its duration. */
int write_handles_open(struct write_handles *h, int flags, enum exec_writes policy);
/* A RELEASE, or an open whose reply failed; the flags and the policy of its open. */
void write_handles_release(struct write_handles *h, int flags, enum exec_writes policy);
/* Internal writing that skips no level: denied while a program runs, whatever the policy.
 * Execs are denied until the put. */
int write_handles_get(struct write_handles *h);
void write_handles_put(struct write_handles *h);

bool write_handles_is_running(const struct write_handles *h);
/* A user has it open for writing; internal writing is ignored. */
bool write_handles_is_written(const struct write_handles *h);
/* A shared writable mapping may exist: an unreleased O_RDWR handle in cached mode. In
 * passthrough RELEASE does not wait for mappings: probe the write lease there as well. */
bool write_handles_may_be_mapped(const struct write_handles *h);
