/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* No worker can be started: the keeper answers EIO to each request, until the mount is unmounted or
 * a signal ends it. */
#pragma once

struct refusal {
	int device, signals; /* borrowed */
	int status;          /* of the last worker; -1: unknown */
	const char *point;   /* is unmounted at the end */
	const char *log;     /* a file; NULL: stderr */
};

void refusal_run(const struct refusal *r);
