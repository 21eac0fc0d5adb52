/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/real.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static struct real found;
static atomic_bool loaded;

/* Twice at the same time does no harm: it finds the same. */
static void real_load(void)
{
	void *address;
#define REAL_FIND(type, name, arguments)                                                           \
	address = dlsym(RTLD_NEXT, #name);                                                         \
	memcpy(&found.name, &address, sizeof(address));
	REAL_FUNCTIONS(REAL_FIND)
#undef REAL_FIND
	atomic_store_explicit(&loaded, true, memory_order_release);
}

const struct real *real(void)
{
	if (!atomic_load_explicit(&loaded, memory_order_acquire))
		real_load();
	return &found;
}
