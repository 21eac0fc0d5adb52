/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What of `-o exec_writes=deny|allow` is left for us to do on this kernel. */
#pragma once
#include "fuse/inode/write_access.h"

/* Asks the kernel, by an exec that cannot succeed. Where it gives no clear answer (no /proc,
 * memfds that may not be executed) it is taken for one that denies, as nearly all do. */
enum exec_writes exec_writes_policy(bool allow);
