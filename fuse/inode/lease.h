/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Other opens of a local file, as far as leases show them (fcntl(2)): handles in passthrough, and
 * mappings that outlived them, which send no request, and outlive the daemon.
 * Source: check_conflicting_open() in the kernel: a write lease needs the only open of the
 *         file, a read lease that no open is for writing
 */
#pragma once
#include <stdbool.h>

enum lease {
	LEASE_FREE,
	LEASE_HELD,    /* the file is open elsewhere */
	LEASE_UNKNOWN, /* a file system without leases */
};

/* Through `fd`, which must be the caller's only descriptor of the file. `any`: is it open
 * elsewhere; else: open for writing (`fd` is O_RDONLY). Never blocks; keeps no lease. */
enum lease lease_probe(int fd, bool any);
