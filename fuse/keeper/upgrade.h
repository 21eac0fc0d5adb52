/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Another program takes over a live mount. Nothing is given up before it has shown that it works:
 *
 *     none    asked for ─▶ starts
 *     starts  it is ready ─▶ ready; it refuses, dies, or takes longer than START_NS ─▶ none: the
 *             old worker goes on
 *     ready   the old worker has ended (asked to; killed after YIELD_MS) ─▶ tries
 *     tries   it dies ─▶ none: a fork of the old keeper takes over; it serves for TRIAL_MS: the
 *             keeper executes the new program in its own place, which answers
 *
 * Starts:  the program runs beside the old worker, as `lacunafs --resume=FD` (handover.h). It
 *          compares the layout of the area, maps it, and parses the words of the mount, the same
 *          that its keeper will parse: what fails there costs nothing
 * Tries:   a worker took over, as after a death; the old keeper watches it for TRIAL_MS from when
 *          all of it runs. Then the keeper is replaced, too, unless that worker has ended or
 *          unmounts: same process, same children; later workers are its forks. What fails from
 *          there on would end the mount: handover_again()
 * Program: that of the process which asks, by /proc/PID/exe (peer.h). Nobody can name a file. It
 *          must not lie on the mount, which nobody serves while a worker is replaced; a file system
 *          stacked on the mount (overlayfs) is not recognized
 * Trust:   what runs in the end, with all that the keeper may do, is a program that a process of
 *          the keeper's user, in its user and mount namespaces, runs itself. Other limits of that
 *          process are not compared: chroot, seccomp, capabilities it dropped, a security module.
 *          A confined worker that was taken over by somebody can ask for it, too, for the program
 *          that it is itself (it can execute no other: seccomp.h), or hand over any connection that
 *          it has, of a client that never asked: then that client's program runs
 * Asked:   by the user of the keeper only; not by root for another user's mount
 * Limits:  one upgrade at a time. An area in anonymous memory (RLIMIT_FSIZE below its size) cannot
 *          be handed over. If the new worker changes the store so that the old program cannot open
 *          it, there is no way back
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct area;
struct handover;

enum upgrade_stage { UPGRADE_NONE, UPGRADE_STARTS, UPGRADE_READY, UPGRADE_TRIES };

struct upgrade {
	enum upgrade_stage stage;
	int client; /* owned, as the next three; -1: none */
	int program;
	int output;       /* what the program says */
	int socket;       /* to the worker that waits; UPGRADE_TRIES: the keeper has it */
	pid_t pid;        /* of that worker; 0: it is reaped, or the keeper's */
	int64_t until_ns; /* CLOCK_MONOTONIC: UPGRADE_STARTS ends, or the old worker */
	bool told;        /* the old worker was asked to end */
};

void upgrade_init(struct upgrade *u);
/* Takes `client`. `h`: area and words_size are set. */
void upgrade_begin(struct upgrade *u, int client, const struct handover *h, const char *words,
                   const struct area *area);
/* UPGRADE_STARTS, UPGRADE_READY: its socket is readable. */
void upgrade_take(struct upgrade *u);
/* The time of UPGRADE_STARTS may be over. */
void upgrade_expire(struct upgrade *u, int64_t now_ns);
/* Ends it, with a line for the client: `why` (NULL: none), and what the program said. */
void upgrade_fail(struct upgrade *u, const char *why);
/* Answers a client: {"error": TEXT}, or NULL: {"upgraded": true}. Closes it. */
void upgrade_answer(int client, const char *error);
