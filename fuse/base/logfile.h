/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The file of a log: private to its owner, bounded in size, and never one that another user could
 * have planted.
 * Shape:   a file longer than 4 MiB is renamed to FILE.1, of which there is one; a device, a pipe
 *          or a terminal is never full. Lines logged before the file exists wait, up to 64 KiB
 * Trust:   a symbolic link is followed if the daemon's user or root owns it (/dev/stderr). In a
 *          world-writable directory an existing file must belong to the daemon's user or the
 *          directory's owner, and have one name (as protected_regular etc. of proc_sys_fs(5),
 *          whatever their settings)
 * Locking: none; one thread, which may block on the disk
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct logfile;

/* Opens for appending, creates a missing file; does not wait for a reader of a FIFO. -1:
 * LOCAL_ERROR. */
int logfile_open(const char *path, GError **error);
/* The same, without a cause. `full` (may be NULL) becomes FILE.1 before; if it has another name by
 * now, another program moved it, and it is left as it is. < 0: there is no file. */
int logfile_next(const char *path, const struct stat *full);
/* From now on `next` takes its place, in a process that may not open files itself. Before the first
 * line is written. */
void logfile_delegate(int (*next)(const char *path, const struct stat *full));

/* `path` NULL: the current standard error. `store` (may be NULL): the directory of `path`, which is
 * created only once the directory is a store. The first write opens it. It lives as
 * long as the process. */
struct logfile *logfile_new(const char *path, const char *store);
/* Writes the lines in `text`; returns how many were lost for want of space or of a file. */
uint64_t logfile_write(struct logfile *f, const char *text, size_t length);
