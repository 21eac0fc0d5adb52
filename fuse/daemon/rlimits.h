/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What the shell that mounts may use is no measure for a daemon that serves others. */
#pragma once
#include <stdint.h>

/* Raises the limits of open files and of the size of a file as far as we may; a file that is too
 * large is an error from here on, and no signal that kills. */
void rlimits_raise(void);
/* How many descriptors this process may have. */
uint64_t rlimits_descriptors(void);
