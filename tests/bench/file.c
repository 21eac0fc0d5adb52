/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reads one big file.
 * Usage:  file read|sum FILE           from start to end, 1 MiB a call
 *         file touch FILE PAGES SEED   one byte of each of so many random pages, mapped
 * Output: ns bytes hash
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"

static unsigned char buffer[1 << 20];

static uint64_t file_read(int fd, bool sum, uint64_t *hash)
{
	uint64_t bytes = 0;
	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));
		if (n < 0)
			err(1, "read");
		if (n == 0)
			return bytes;
		bytes += (uint64_t)n;
		if (sum)
			*hash = mix(*hash, buffer, (size_t)n);
	}
}

static uint64_t file_touch(int fd, uint64_t pages, uint64_t seed, uint64_t *hash)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size < 4096)
		err(1, "fstat");
	uint64_t last = (uint64_t)st.st_size / 4096;
	const unsigned char *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(1, "mmap");
	for (uint64_t i = 0; i < pages; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		*hash = mix(*hash, map + seed % last * 4096, 1);
	}
	munmap((void *)map, (size_t)st.st_size);
	return pages;
}

int main(int argc, char **argv)
{
	uint64_t hash = 0, bytes;
	bool touch = argc == 5 && strcmp(argv[1], "touch") == 0;
	if (!touch && argc != 3)
		errx(2, "usage: file read|sum FILE, or file touch FILE PAGES SEED");
	int64_t began = clock_ns();
	int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", argv[2]);
	if (touch)
		bytes = file_touch(fd, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
		                   &hash);
	else
		bytes = file_read(fd, strcmp(argv[1], "sum") == 0, &hash);
	close(fd);
	printf("%lld %llu %llx\n", (long long)(clock_ns() - began), (unsigned long long)bytes,
	       (unsigned long long)hash);
	return 0;
}
