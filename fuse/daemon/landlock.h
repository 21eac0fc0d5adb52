/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Landlock: the files that the daemon may still open, by the directories that they are below.
 * Limits:  descriptors that are open go on; memory files are free; so are look-ups, stat(2),
 *          chmod(2), xattrs and connect(2) to a socket in the file system. mount(2) and umount(2)
 *          are refused altogether, as is the sight of other processes by ptrace(2)'s rules
 * Kernel:  Linux 5.19 (ABI 2: a file can be renamed to another directory); 6.2 truncation, 6.7 TCP,
 *          6.12 abstract sockets. What an older kernel does not know is not confined
 * Source:  landlock(7); linux/landlock.h, of which the build may have an older one
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct landlock {
	int fd;         /* the rules; -1: there is no Landlock */
	uint64_t files; /* the rights that rules are about */
	bool tcp;
};

enum landlock_right {
	LANDLOCK_READ, /* files and directories */
	LANDLOCK_ALL,  /* whatever can be done to files: the store */
	LANDLOCK_USE,  /* reads and writes of a file or device that exists */
	LANDLOCK_NAME, /* sockets are made and removed */
	LANDLOCK_LIST, /* names can be read */
};

/* `connects`: TCP connections are needed. Binding to a port needs a rule. 0, -errno: EOPNOTSUPP,
 * ENOSYS: the kernel has none, or it is switched off; EPROTONOSUPPORT: too old. */
int landlock_begin(struct landlock *l, bool connects);
/* What does not exist gets no rule. -errno. */
int landlock_allow(struct landlock *l, const char *path, enum landlock_right right);
int landlock_allow_fd(struct landlock *l, int fd, enum landlock_right right);
int landlock_allow_bind(struct landlock *l, unsigned port);
/* This thread and those that it starts; needs no_new_privs. Ends the rules also on failure. */
int landlock_end(struct landlock *l);
void landlock_drop(struct landlock *l);
