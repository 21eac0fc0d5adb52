/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One read by io_uring(7), without a library. */
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "events.h"

static void *ring_map(int ring, size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
}

long uring_read(int fd, void *buffer, unsigned length, uint64_t offset)
{
	struct io_uring_params p = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &p);
	if (ring < 0 || !(p.features & IORING_FEAT_SINGLE_MMAP))
		return -1;
	size_t size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *rings = ring_map(ring, size, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = ring_map(ring, p.sq_entries * sizeof(*sqe), IORING_OFF_SQES);
	if (rings == MAP_FAILED || (void *)sqe == MAP_FAILED)
		return -1;
	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ,
	                             .fd = fd,
	                             .addr = (uintptr_t)buffer,
	                             .len = length,
	                             .off = offset};
	unsigned *tail = (unsigned *)(rings + p.sq_off.tail);
	*(unsigned *)(rings + p.sq_off.array) = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	long n = syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	int result = ((struct io_uring_cqe *)(rings + p.cq_off.cqes))->res;
	munmap(rings, size);
	munmap(sqe, p.sq_entries * sizeof(*sqe));
	close(ring);
	if (n < 0)
		return -1;
	errno = result < 0 ? -result : 0;
	return result < 0 ? -1 : result;
}
