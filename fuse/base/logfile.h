/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The file that a log's lines go to: made for its owner alone, bounded in size, and only one that
 * nobody else can have put there.
 * Shape:   what is longer than 4 MiB becomes FILE.1, of which there is one; a device, a pipe or a
 *          terminal is never full. Lines from before the file can be there wait, up to 64 KiB
 * Trust:   a symbolic link is followed if it is ours or root's (/dev/stderr). In a directory that
 *          everybody may write to, what is there has to be ours, or of the directory's owner, and
 *          to have one name (protected_regular and its kin of proc_sys_fs(5), whatever they are
 *          set to here)
 * Locking: none; one thread, which may wait for the disk
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct logfile;

/* For appending, made if it is not there; waits for no reader of a FIFO. -1: LOCAL_ERROR. */
int logfile_open(const char *path, GError **error);

/* `path` NULL: what is standard error now. `store` (may be NULL): `path` lies in it, and is made
 * only once it is a store. It is opened by the first write. */
struct logfile *logfile_new(const char *path, const char *store);
void logfile_free(struct logfile *f); /* that standard output and error do not follow */
/* How many of the whole lines in `text` are lost: there is no room or no file for them. */
uint64_t logfile_write(struct logfile *f, const char *text, size_t length);
