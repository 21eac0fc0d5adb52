/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: the kernel of before Linux 6.9, which cannot send requests again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/fuse.h>
#include <sys/types.h>

#define HAS_RESEND (1u << (39 - 32))
#define NOTIFY_RESEND 7

ssize_t read(int fd, void *data, size_t size)
{
	static ssize_t (*real)(int, void *, size_t);
	if (!real)
		real = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
	ssize_t n = real(fd, data, size);
	struct fuse_in_header *in = data;
	if (n >= (ssize_t)(sizeof(*in) + sizeof(struct fuse_init_in)) && in->len == n &&
	    in->opcode == FUSE_INIT)
		((struct fuse_init_in *)(in + 1))->flags2 &= ~HAS_RESEND;
	return n;
}

ssize_t write(int fd, const void *data, size_t size)
{
	static ssize_t (*real)(int, const void *, size_t);
	const struct fuse_out_header *out = data;
	if (!real)
		real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	if (size == sizeof(*out) && out->len == size && out->error == NOTIFY_RESEND &&
	    !out->unique) {
		errno = EINVAL;
		return -1;
	}
	return real(fd, data, size);
}
