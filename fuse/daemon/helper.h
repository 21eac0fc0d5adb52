/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A process beside a confined daemon (confine.h), for the few things that the daemon may not do:
 * mounting and unmounting, opening its own log and the user's secret files, reading what another
 * process waits for.
 *
 * Trust:   requests name none but the things of this mount, fixed before the daemon read its first
 *          byte from outside: a daemon that was taken over can unmount itself, and read its own
 *          credentials
 * Life:    ends with the daemon, whose end of the socket is its only one
 * Waits:   a request waits for the mount as long as mounting takes; any other has PATIENCE_MS. A
 *          helper that was killed makes requests fail with EPIPE: the daemon goes on, but at its
 *          end cannot unmount (the kernel then fails what uses the mount with ENOTCONN)
 * Locking: any thread
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include "fuse/base/settings.h"

/* Before any other thread. It is a child of this process, with its standard streams. 0, -errno. */
int helper_start(const struct settings *s, bool read_only);
/* Waits for its end. A store directory that was made for this mount is removed, if it is empty. */
void helper_stop(void);

/* Mounts: the session's descriptor, and the mount's device number (0: unknown). -1. */
int helper_mount(dev_t *device, GError **error);
/* The connection's descriptors of this process are closed before. `gone`: it had ended already. */
void helper_unmount(dev_t device, bool gone);
/* Of source_options.secret_open, and of logfile.h: descriptors, or -errno. */
int helper_secret(const char *path);
int helper_log(const char *path, const struct stat *full);
/* Of caller.h. */
bool helper_caller(pid_t tid, const char *file, char *out, size_t size);
