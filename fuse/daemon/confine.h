/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Confines the process that reads what comes from outside: listings, data, control requests,
 * handlers' messages. Whoever takes it over can write to the store of this mount, read what the
 * rules below list, and reach the network; it cannot run programs, open other files, or trace
 * other processes.
 *
 * Files:   landlock.h: the store, all rights. Read only: the directories of dir: sources, /proc,
 *          /usr and the libraries; for sources on the network also /etc and the places of resolvers
 *          and trusted certificates, since these files are replaced at any time. Sockets are made
 *          and removed in their directories. The log and the secret files are the helper's, which
 *          opens these files and no others in their directories (helper.h)
 * Calls:   seccomp.h
 * Rights:  no_new_privs; of root's capabilities those that a store needs which keeps owners, modes,
 *          devices and xattrs. CAP_SYS_ADMIN stays for trusted xattrs and for passthrough, without
 *          most of what it permits: Landlock refuses mount(2), and seccomp the rest
 * Limits:  no core dump: it would hold credentials
 * Failure: a part that the kernel, or a container, does not have is skipped; the log and the status
 *          tell so. Signals to processes of the same user are possible: the guard gets one
 */
#pragma once
#include "fuse/base/confinement.h"
#include "fuse/base/settings.h"

/* This process, before it has other threads, and after helper_start(). */
void confine_worker(const struct settings *s, struct confinement *out);
/* One line for the log; caller frees. NULL: all is confined. */
char *confinement_lacks(const struct confinement *c);
void confinement_clear(struct confinement *c);
