/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/area.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "area_layout.h"

#define MAGIC UINT64_C(0x314145524143414c) /* "LACAREA1" */
#define HEADER (UINT64_C(1) << 16)
#define GIB (UINT64_C(1) << 30)
#define HALVINGS_MAX 8
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE */

/* Below all that Linux on x86-64 maps by itself (its random places are the last TiB below 2^47),
 * and within what the address and the thread sanitizer leave to a program: from 0x7e8000000000 on.
 * A hint: a machine with a smaller address space has the area elsewhere, where another program may
 * find its place taken. */
#define PLACE ((void *)UINT64_C(0x7e9000000000))

/* Where address space is limited (ulimit -v), the first three have less. */
static const size_t sizes[AREA_REGIONS] = {
        [AREA_INODES] = 16 * GIB,
        [AREA_HANDLES] = 4 * GIB,
        [AREA_ARENA] = 16 * GIB,
        [AREA_JOURNAL] = UINT64_C(4) << 20,
        [AREA_STRIKES] = UINT64_C(1) << 20,
        [AREA_KEPT_HANDLERS] = AREA_KEPT_HANDLERS_SIZE,
        [AREA_PLACES] = UINT64_C(4) << 20,
};

static size_t size_of(enum area_region region, bool kept, unsigned halvings)
{
	if (region <= AREA_ARENA)
		return sizes[region] >> halvings;
	return kept ? sizes[region] : 0;
}

/* A memfd is accounted for page by page, also where the kernel grants no more memory than it has.
 */
static void *reserve(size_t size, bool kept, int *out)
{
	const int flags = MAP_NORESERVE, both = PROT_READ | PROT_WRITE;
	void *p = MAP_FAILED;
	if (!kept)
		p = mmap(NULL, size, both, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = p == MAP_FAILED ? memfd_create("lacunafs", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
	bool sized = fd >= 0 && ftruncate(fd, (off_t)size) == 0; /* else RLIMIT_FSIZE */
	if (sized) /* a worker that was taken over cannot shorten it under the keeper */
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (sized)
		p = mmap(PLACE, size, both, flags | MAP_SHARED, fd, 0);
	else if (p == MAP_FAILED)
		p = mmap(NULL, size, both, flags | MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err = errno;
	bool given = sized && p != MAP_FAILED && out;
	if (given)
		*out = fd;
	else if (fd >= 0)
		close(fd);
	errno = err;
	return p;
}

uint64_t area_layout(void)
{
	return AREA_LAYOUT ^ (uint64_t)AREA_VERSION << 56 ^ sizeof(struct area);
}

struct area *area_new(bool kept, int *fd)
{
	if (fd)
		*fd = -1;
	size_t offsets[AREA_REGIONS + 1];
	struct area *a = MAP_FAILED;
	for (unsigned n = 0; a == MAP_FAILED && n <= HALVINGS_MAX; n++) {
		offsets[0] = HEADER;
		for (unsigned r = 0; r < AREA_REGIONS; r++)
			offsets[r + 1] = offsets[r] + size_of(r, kept, n);
		a = reserve(offsets[AREA_REGIONS], kept, fd);
	}
	if (a == MAP_FAILED)
		return NULL;
	a->magic = MAGIC;
	a->version = AREA_VERSION;
	a->status = -1;
	a->kept = kept;
	a->self = a;
	a->layout = area_layout();
	memcpy(a->offsets, offsets, sizeof(offsets));
	return a;
}

struct area *area_map(int fd, const char **why)
{
	struct area header;
	struct stat st;
	*why = "the state of the mount cannot be read";
	if (fstat(fd, &st) < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    header.magic != MAGIC || header.offsets[AREA_REGIONS] != (uint64_t)st.st_size)
		return NULL;
	*why = "this program keeps the state of a mount in another layout";
	if (header.version != AREA_VERSION || header.layout != area_layout())
		return NULL;
	*why = "the place of the mount's state is taken in this program";
	void *p = mmap(header.self, (size_t)st.st_size, PROT_READ | PROT_WRITE,
	               MAP_NORESERVE | MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (p == header.self)
		return p;
	if (p != MAP_FAILED)
		munmap(p, (size_t)st.st_size);
	return NULL;
}

bool area_is_placed(const struct area *a)
{
	return a == PLACE;
}

void area_free(struct area *a)
{
	munmap(a, a->offsets[AREA_REGIONS]);
}

bool area_check(const struct area *a)
{
	return a->magic == MAGIC && a->version == AREA_VERSION && a->phase == AREA_SERVES &&
	       a->init_size > 0 && a->init_size <= AREA_INIT_MAX && a->inodes > 0;
}

void *area_region(struct area *a, enum area_region region)
{
	return (char *)a + a->offsets[region];
}

size_t area_region_size(const struct area *a, enum area_region region)
{
	return a->offsets[region + 1] - a->offsets[region];
}

void area_populate(struct area *a, enum area_region region, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	/* fails on Linux before 5.14: the pages come one by one */
	(void)madvise(area_region(a, region), size / page * page, POPULATE_WRITE);
}

void area_give(struct area *a, enum area_region region, size_t offset, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t begin = (offset + page - 1) / page * page, end = (offset + size) / page * page;
	char *at = (char *)area_region(a, region) + begin;
	/* the first is for shared memory, the second for private */
	if (begin < end && madvise(at, end - begin, MADV_REMOVE) < 0)
		(void)madvise(at, end - begin, MADV_DONTNEED);
}
