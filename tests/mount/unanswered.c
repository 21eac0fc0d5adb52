/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Preloaded into the daemon: the worker is killed when it has done what a request asks for and is
 * about to answer, or when it has read a FORGET and not carried it out. Once; the next one works.
 * Shape: UNANSWERED names a file of one struct unanswered, shared with the test (faults.py)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OFF, REPLY, FORGET };

struct unanswered {
	uint32_t mode;
	int64_t left; /* replies that are still sent */
	int64_t seen; /* replies since it was set */
};

static struct unanswered *shared;

__attribute__((constructor)) static void shared_map(void)
{
	const char *path = getenv("UNANSWERED");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared == MAP_FAILED)
		shared = NULL;
}

static void worker_end(uint32_t mode)
{
	if (__atomic_compare_exchange_n(&shared->mode, &mode, OFF, 0, __ATOMIC_SEQ_CST,
	                                __ATOMIC_SEQ_CST))
		kill(getpid(), SIGKILL);
}

static int mode_is(uint32_t mode)
{
	return shared && __atomic_load_n(&shared->mode, __ATOMIC_ACQUIRE) == mode;
}

/* A message to the kernel begins with its length; a notice has no number. */
static void look(const void *p, size_t size, size_t all)
{
	const struct fuse_out_header *out = p;

	if (!mode_is(REPLY) || size < sizeof *out || out->len != all || out->unique == 0)
		return;
	__atomic_add_fetch(&shared->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_fetch_sub(&shared->left, 1, __ATOMIC_ACQ_REL) == 0)
		worker_end(REPLY);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
	static ssize_t (*real)(int, const struct iovec *, int);
	size_t all = 0;

	if (!real)
		real = dlsym(RTLD_NEXT, "writev");
	for (int n = 0; n < count; n++)
		all += v[n].iov_len;
	if (count > 0)
		look(v->iov_base, v->iov_len, all);
	return real(fd, v, count);
}

ssize_t write(int fd, const void *p, size_t size)
{
	static ssize_t (*real)(int, const void *, size_t);

	if (!real)
		real = dlsym(RTLD_NEXT, "write");
	look(p, size, size);
	return real(fd, p, size);
}

ssize_t read(int fd, void *p, size_t size)
{
	static ssize_t (*real)(int, void *, size_t);
	const struct fuse_in_header *in = p;
	ssize_t n;

	if (!real)
		real = dlsym(RTLD_NEXT, "read");
	n = real(fd, p, size);
	if (mode_is(FORGET) && n >= (ssize_t)sizeof *in && in->len == n &&
	    (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET))
		worker_end(FORGET);
	return n;
}
