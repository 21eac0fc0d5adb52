/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Reads or writes one big file.
 * Usage:  file read|sum FILE           from start to end, 1 MiB a call
 *         file touch FILE PAGES SEED   one byte of each of so many random pages, mapped
 *         file write|sync FILE MIB     a new file, 1 MiB a call; sync: with fsync before close
 * Output: ns bytes hash; hash: what sum says, or would say, of the file; 0 of read
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"

static uint64_t buffer[(1 << 20) / 8];

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
			*hash = mix(*hash, (unsigned char *)buffer, (size_t)n);
	}
}

static uint64_t xorshift(uint64_t seed)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
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
		seed = xorshift(seed);
		*hash = mix(*hash, map + seed % last * 4096, 1);
	}
	munmap((void *)map, (size_t)st.st_size);
	return pages;
}

/* Each MiB differs from all others by its number. */
static void file_write(int fd, uint64_t mib)
{
	for (uint64_t i = 0; i < mib; i++) {
		buffer[0] = i;
		if (write(fd, buffer, sizeof(buffer)) != sizeof(buffer))
			err(1, "write");
	}
}

static uint64_t written_hash(uint64_t mib)
{
	uint64_t hash = 0;
	for (uint64_t i = 0; i < mib; i++) {
		buffer[0] = i;
		hash = mix(hash, (unsigned char *)buffer, sizeof(buffer));
	}
	return hash;
}

static void result_print(int64_t ns, uint64_t bytes, uint64_t hash)
{
	printf("%lld %llu %llx\n", (long long)ns, (unsigned long long)bytes,
	       (unsigned long long)hash);
}

static void write_run(const char *path, uint64_t mib, bool sync)
{
	uint64_t seed = 88172645463325252;
	for (size_t i = 0; i < sizeof(buffer) / sizeof(*buffer); i++)
		buffer[i] = seed = xorshift(seed);
	int64_t began = clock_ns();
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", path);
	file_write(fd, mib);
	if (sync && fsync(fd) != 0)
		err(1, "fsync");
	if (close(fd) != 0)
		err(1, "close");
	int64_t ns = clock_ns() - began;
	result_print(ns, mib * sizeof(buffer), written_hash(mib));
}

static void read_run(char **argv, bool touch)
{
	uint64_t hash = 0, bytes;
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
	result_print(clock_ns() - began, bytes, hash);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	bool touch = strcmp(verb, "touch") == 0, sync = strcmp(verb, "sync") == 0;
	if (argc == 4 && (sync || strcmp(verb, "write") == 0))
		write_run(argv[2], strtoull(argv[3], NULL, 10), sync);
	else if (touch ? argc == 5
	               : argc == 3 && (strcmp(verb, "read") == 0 || strcmp(verb, "sum") == 0))
		read_run(argv, touch);
	else
		errx(2, "usage: file read|sum FILE, file touch FILE PAGES SEED, or "
		        "file write|sync FILE MIB");
	return 0;
}
