/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Capabilities of the daemon, of this thread and those that it starts. Not libcap: two system
 * calls. Source: capabilities(7) */
#pragma once
#include <stdint.h>

#define CAPABILITY_BIT(n) (UINT64_C(1) << (n)) /* CAP_CHOWN, … of linux/capability.h */

/* Gives up all others, and for good: the bounding, the inheritable and the ambient set, too. Of
 * `most`, those that the thread has remain; *kept (may be NULL) becomes those. 0, -errno. */
int capabilities_keep(uint64_t most, uint64_t *kept);
/* "chown,dac_override": caller frees. */
char *capabilities_text(uint64_t set);
