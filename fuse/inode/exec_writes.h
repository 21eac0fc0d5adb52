/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The part of `-o exec_writes=deny|allow` that this kernel leaves to the daemon. */
#pragma once
#include "fuse/inode/write_access.h"

/* Probes the kernel, by an exec that cannot succeed. If the result is unclear (no /proc,
 * memfds that may not be executed) the kernel is assumed to deny, as nearly all do. */
enum exec_writes exec_writes_policy(bool allow);
