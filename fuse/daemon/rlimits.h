/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The mounting shell's limits do not suit a daemon that serves other processes. */
#pragma once
#include <stdint.h>

/* Raises the limits of open files and of file size as far as permitted; exceeding the file size is
 * an error from here on, not a fatal signal. */
void rlimits_raise(void);
/* The limit of descriptors of this process. */
uint64_t rlimits_descriptors(void);
