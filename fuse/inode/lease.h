/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Who has a local file open, as far as leases tell (fcntl(2)): handles in passthrough, and the
 * mappings that are left of them, which send no request, and outlive the daemon.
 * Source: check_conflicting_open() in the kernel: a write lease is had by the only one who has the
 *         file open, a read lease where nobody has it for writing
 */
#pragma once
#include <stdbool.h>

enum lease {
	LEASE_FREE,
	LEASE_HELD,    /* somebody else has it */
	LEASE_UNKNOWN, /* a file system without leases */
};

/* Through `fd`, which has to be the caller's only descriptor of the file. `any`: does anybody have
 * it; else: for writing (`fd` is O_RDONLY). Takes no time, and holds nothing. */
enum lease lease_probe(int fd, bool any);
