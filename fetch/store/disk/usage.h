/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The layout of state/usage; format.h has its tables. */
#pragma once
#include <glib.h>
#include <stdint.h>

#define USAGE_MAGIC UINT64_C(0x314753554e43414c) /* "LACNUSG1" */

struct usage_disk {
	uint64_t magic;
	uint64_t used, fetched;
	uint32_t known, reserved;
	uint64_t count;
	uint64_t checksum;
};
G_STATIC_ASSERT(sizeof(struct usage_disk) == 48);

struct use_disk {
	uint64_t ino;
	uint32_t at, reserved;
};
G_STATIC_ASSERT(sizeof(struct use_disk) == 16);
