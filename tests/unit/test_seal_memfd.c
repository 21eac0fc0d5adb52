/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Seals beside the kernel's: memfds in the same state as the seals under test. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/seal.h"
#include "tests/unit/seals.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* A memfd of `size` bytes, open O_RDWR. */
static int memfd_new(uint64_t size, uint32_t mode)
{
	int fd = memfd_create("seal", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, size), ==, 0);
	g_assert_cmpint(fchmod(fd, mode), ==, 0);
	return fd;
}

static int memfd_reopen(int fd, int flags)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	int other = open(path, flags | O_CLOEXEC);
	g_assert_cmpint(other, >=, 0);
	return other;
}

static int answer(long result)
{
	return result < 0 ? -errno : 0;
}

/* Seals as of Linux 6.3, mapping as of 6.7. */
static bool memfd_is_current(void)
{
	int fd = memfd_create("seal", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	bool current = fd >= 0 && ftruncate(fd, 4096) == 0 && fchmod(fd, 0700) == 0 &&
	               fcntl(fd, F_ADD_SEALS, EXEC) == 0;
	void *map = current ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	current = map != MAP_FAILED;
	if (current)
		munmap(map, 4096);
	if (fd >= 0)
		close(fd);
	if (!current)
		g_test_skip("memfd_create(2) does not have all of today's seals here");
	return current;
}

/* Every present set of seals and every added one, for each kind of file. */
static void test_add_as_memfd(void)
{
	unsigned compared = 0;
	if (!memfd_is_current())
		return;
	for (unsigned n = 0; n < 64 * 66 * 8; n++) {
		uint32_t there = n % 64, wanted = n / 64 % 66, kind = n / 64 / 66;
		/* Past the known ones: two that are not. */
		if (wanted >= 64)
			wanted = wanted == 64 ? 0x40 | WRITE : UINT32_C(0x80000000);
		struct seal_facts facts = {.mode = kind & 1 ? 0610 : 0666,
		                           .writable = kind & 2,
		                           .mapped = kind & 4,
		                           .sealable = true};
		int fd = memfd_new(4096, facts.mode);
		void *map = NULL;
		if (facts.mapped)
			map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		g_assert_true(map != MAP_FAILED);
		if (there == 0 || fcntl(fd, F_ADD_SEALS, there) == 0) {
			uint32_t seals = fcntl(fd, F_GET_SEALS);
			int by = facts.writable ? fd : memfd_reopen(fd, O_RDONLY);
			int want = answer(fcntl(by, F_ADD_SEALS, wanted));
			int err = seal_add(&seals, wanted, &facts);
			if (err != want || seals != (uint32_t)fcntl(by, F_GET_SEALS))
				g_error("kind %u, %#x and %#x: %d and %#x, memfd %d and %#x", kind,
				        there, wanted, err, seals, want, fcntl(by, F_GET_SEALS));
			compared++;
			if (by != fd)
				close(by);
		}
		if (map)
			munmap(map, 4096);
		close(fd);
	}
	g_test_message("%u compared", compared);
	g_assert_cmpuint(compared, >, 20000);
}

static const uint64_t sizes[] = {0, 1, 4095, 4096, 5000, 8192, 12288 + 7};

/* Straddling writes stop at folios, which are pages unless tmpfs was told otherwise. */
static bool memfd_has_pages(void)
{
	g_autofree char *text = NULL;
	return getpagesize() == 4096 &&
	       (!g_file_get_contents("/sys/kernel/mm/transparent_hugepage/shmem_enabled", &text,
	                             NULL, NULL) ||
	        strstr(text, "[never]"));
}

static void compare_writes(uint32_t seals, uint64_t size)
{
	static const uint64_t offsets[] = {0, 1, 4095, 4096, 4999, 5000, 8191, 8192, 20000};
	static const uint64_t lengths[] = {0, 1, 96, 4096, 5000, 8192, 30000};
	static const char bytes[30000];
	for (unsigned n = 0; n < G_N_ELEMENTS(offsets) * G_N_ELEMENTS(lengths); n++) {
		uint64_t offset = offsets[n / G_N_ELEMENTS(lengths)], allowed = 77;
		uint64_t length = lengths[n % G_N_ELEMENTS(lengths)];
		int fd = memfd_new(size, 0600);
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
		ssize_t done = pwrite(fd, bytes, length, offset);
		int err = seal_check_write(seals, offset, length, size, false, &allowed);
		if (err != answer(done) || allowed != (err ? 77 : done))
			g_error("write %#x, %lu+%lu of %lu: %d and %lu, memfd %zd", seals, offset,
			        length, size, err, allowed, done);
		close(fd);
	}
}

static void compare_sizes(uint32_t seals, uint64_t size)
{
	for (unsigned n = 0; n < G_N_ELEMENTS(sizes); n++) {
		int fd = memfd_new(size, 0600);
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
		int want = answer(ftruncate(fd, sizes[n]));
		int err = seal_check_truncate(seals, size, sizes[n]);
		if (err != want)
			g_error("truncate %#x, %lu to %lu: %d, memfd %d", seals, size, sizes[n],
			        err, want);
		close(fd);
	}
}

static void compare_fallocate(uint32_t seals, uint64_t size)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
	                            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
	static const uint64_t ranges[][2] = {{0, 1},       {0, 4096}, {0, 5000},    {4096, 904},
	                                     {4096, 4096}, {8191, 1}, {8192, 4096}, {100, 9000},
	                                     {20000, 1},   {0, 20000}};
	for (unsigned n = 0; n < G_N_ELEMENTS(ranges) * G_N_ELEMENTS(modes); n++) {
		int mode = modes[n / G_N_ELEMENTS(ranges)];
		const uint64_t *range = ranges[n % G_N_ELEMENTS(ranges)];
		int fd = memfd_new(size, 0600);
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
		int want = answer(fallocate(fd, mode, range[0], range[1]));
		int err = seal_check_fallocate(seals, mode, range[0], range[1], size);
		if (err != want)
			g_error("fallocate %#x, mode %d, %lu+%lu of %lu: %d, memfd %d", seals, mode,
			        range[0], range[1], size, err, want);
		close(fd);
	}
}

static void compare_maps(uint32_t seals)
{
	for (unsigned n = 0; n < 4; n++) {
		bool shared = n & 1, writable = n & 2;
		int fd = memfd_new(4096, 0600);
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
		void *map = mmap(NULL, 4096, PROT_READ | (writable ? PROT_WRITE : 0),
		                 shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
		if (map != MAP_FAILED)
			munmap(map, 4096);
		/* Descriptors that may be opened allow no other mapping. */
		int other = memfd_reopen(fd, O_RDONLY);
		g_assert_cmpint(seal_check_open(seals, O_RDONLY), ==, 0);
		map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0);
		g_assert_true(map != MAP_FAILED);
		g_assert_cmpint(answer(mprotect(map, 4096, PROT_WRITE)), ==, -EACCES);
		munmap(map, 4096);
		close(other);
		other = memfd_reopen(fd, O_WRONLY);
		g_assert_cmpint(seal_check_open(seals, O_WRONLY), ==, 0);
		map = mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, other, 0);
		g_assert_true(map == MAP_FAILED && errno == EACCES);
		close(other);
		close(fd);
	}
}

static void test_operations_as_memfd(void)
{
	if (!memfd_is_current())
		return;
	if (!memfd_has_pages()) {
		g_test_skip("tmpfs uses huge pages here");
		return;
	}
	for (uint32_t seals = 0; seals < SEAL_ALL + 1; seals++) {
		for (unsigned n = 0; n < G_N_ELEMENTS(sizes); n++) {
			compare_writes(seals, sizes[n]);
			compare_sizes(seals, sizes[n]);
			compare_fallocate(seals, sizes[n]);
		}
		compare_maps(seals);
	}
}

static void test_chmod_as_memfd(void)
{
	static const uint32_t modes[] = {0,    0600, 0100, 0010, 0001,  0711,
	                                 0666, 0777, 0070, 0007, 04711, 01666};
	if (!memfd_is_current())
		return;
	for (unsigned n = 0; n < G_N_ELEMENTS(modes) * G_N_ELEMENTS(modes) * 2; n++) {
		uint32_t before = modes[n / 2 / G_N_ELEMENTS(modes)];
		uint32_t after = modes[n / 2 % G_N_ELEMENTS(modes)];
		int fd = memfd_new(0, before);
		g_assert_cmpint(fcntl(fd, F_ADD_SEALS, n % 2 ? EXEC : GROW), ==, 0);
		uint32_t seals = fcntl(fd, F_GET_SEALS);
		g_assert_cmpint(seal_check_chmod(seals, before, after), ==,
		                answer(fchmod(fd, after)));
		close(fd);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/seal/add_as_memfd", test_add_as_memfd);
	g_test_add_func("/seal/operations_as_memfd", test_operations_as_memfd);
	g_test_add_func("/seal/chmod_as_memfd", test_chmod_as_memfd);
	return g_test_run();
}
