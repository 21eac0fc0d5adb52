/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/real.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct real found;
static void *(*libc_dlsym)(void *, const char *);
static atomic_bool loaded;

/* By its version: dlsym() itself is hooked, and looks in here. */
static void *find(const char *name)
{
	static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17",
	                                       "GLIBC_2.27", "GLIBC_2.36"};
	void *address = NULL;
	for (size_t i = 0; !address && i < sizeof(versions) / sizeof(*versions); i++)
		address = dlvsym(RTLD_NEXT, name, versions[i]);
	return address;
}

/* Two threads at a time do no harm: they find the same. */
static void real_load(void)
{
	void *address = find("dlsym");
	if (!address)
		abort(); /* an unknown libc: nothing would work */
	memcpy(&libc_dlsym, &address, sizeof(address));
#define REAL_FIND(type, name, arguments)                                                           \
	address = libc_dlsym(RTLD_NEXT, #name);                                                    \
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

/* Is it libc's own function of a hooked name? */
static bool is_hooked(const void *address)
{
	void *const *all = (void *const *)(const void *)real();
	for (size_t i = 0; i < sizeof(found) / sizeof(*all); i++)
		if (all[i] == address)
			return true;
	return false;
}

/* A program that asks libc alone for a function gets the hook, too: Python's
 * ctypes.CDLL("libc.so.6") does. RTLD_NEXT depends on the caller's address: this function must not
 * be in between. */
#ifdef __clang__
#define JUMPS
#define JUMP __attribute__((musttail))
#else
#define JUMPS __attribute__((optimize("O2")))
#define JUMP
#endif
void *hook_dlsym(void *handle, const char *name) __asm__("dlsym");
JUMPS __attribute__((visibility("default"))) void *hook_dlsym(void *handle, const char *name)
{
	real();
	if (handle == RTLD_NEXT || handle == RTLD_DEFAULT)
		JUMP return libc_dlsym(handle, name);
	void *address = libc_dlsym(handle, name);
	return address && is_hooked(address) ? libc_dlsym(RTLD_DEFAULT, name) : address;
}
