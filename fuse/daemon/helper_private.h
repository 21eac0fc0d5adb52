/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What both ends of the helper's socket know. A message each, of SOCK_SEQPACKET. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "fuse/base/settings.h"

enum helper_kind {
	HELPER_MOUNT = 1,
	HELPER_UNMOUNT, /* what: the connection has ended already; dev: of the mount, 0: unknown */
	HELPER_SECRET,  /* what: enum secret */
	HELPER_LOG,     /* what: it is full, and is the file `dev` and `ino` */
	HELPER_CALLER,  /* what: of helper_files */
};

enum secret { SECRET_TOKEN, SECRET_QUERY, SECRET_NETRC, SECRETS };

#define CALLER_FILES 3
extern const char *const helper_files[CALLER_FILES];

struct helper_request {
	uint32_t kind, what;
	uint64_t serial;
	uint64_t dev, ino;
	int32_t tid;
};

struct helper_reply {
	uint64_t serial;
	int32_t error;   /* 0; -errno; HELPER_UNMOUNT: -EBUSY: another mount is there */
	uint64_t device; /* HELPER_MOUNT */
	char text[8192]; /* HELPER_MOUNT, HELPER_UNMOUNT: the error, or a note; HELPER_CALLER: the
	                  * file */
};

union helper_control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

struct helper_job {
	const struct settings *settings;
	bool read_only;
	bool made;              /* the store's directory: it goes again, if it is still empty */
	char *secrets[SECRETS]; /* paths; NULL: none. SECRET_NETRC is owned */
};

/* In the child. */
void helper_run(int socket, const struct helper_job *job) __attribute__((noreturn));
