/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* mmap-validate checks file data against a pattern. Every word of a page holds a value computed
 * from the page's number, which is never 0, so that zeros and misplaced pages are detected.
 *
 *   mmap-validate write FILE SIZE   writes a file of the pattern, or overwrites one
 *   mmap-validate read FILE         compares it, by read(2)
 *   mmap-validate mmap FILE         compares it through a mapping, page by page in scattered order
 *   mmap-validate program FILE      writes a program whose text contains 8 MiB of the pattern
 *   mmap-validate exec FILE         runs that program, which compares its own text
 *
 * Each wrong page is printed; the exit status is then 1. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, TEXT_PAGES = 2048 };

#define FACTOR 2654435761 /* odd: no page below 2^32 has the value 0 */

/* `program` copies this program itself. */
extern const unsigned char text_pattern[];
#define STRING(x) #x
#define VALUE(factor) "((page + 1) * " STRING(factor) ") & 0xffffffff"
__asm__(".pushsection .text\n"
        ".balign 4096\n"
        ".globl text_pattern\n"
        "text_pattern:\n"
        ".set page, 0\n"
        ".rept 2048\n"
        ".fill 1024, 4, " VALUE(FACTOR) "\n"
                                        ".set page, page + 1\n"
                                        ".endr\n"
                                        ".popsection\n");

static uint32_t page_value(uint64_t page)
{
	return (uint32_t)((page + 1) * FACTOR);
}

static int page_check(const unsigned char *bytes, uint64_t page, size_t length)
{
	uint32_t word, expected = page_value(page);
	for (size_t i = 0; i < length; i += sizeof(word)) {
		size_t n = length - i < sizeof(word) ? length - i : sizeof(word);
		memcpy(&word, &expected, sizeof(word));
		memcpy(&word, bytes + i, n);
		if (word == expected)
			continue;
		printf("page %llu, byte %zu: %08x, not %08x\n", (unsigned long long)page, i, word,
		       expected);
		return 1;
	}
	return 0;
}

/* Far apart from one page to the next, so that readahead does not help: a coprime stride. */
static int pages_check(const unsigned char *bytes, uint64_t size)
{
	uint64_t pages = (size + PAGE - 1) / PAGE, stride = 1021;
	int wrong = 0;
	while (pages % stride == 0)
		stride += 2;
	for (uint64_t i = 0, page = 0; i < pages; i++, page = (page + stride) % pages)
		wrong |= page_check(bytes + page * PAGE, page,
		                    size - page * PAGE < PAGE ? size - page * PAGE : PAGE);
	return wrong;
}

static int write_file(int fd, uint64_t size)
{
	uint32_t words[PAGE / sizeof(uint32_t)];
	for (uint64_t at = 0; at < size; at += PAGE) {
		size_t n = size - at < PAGE ? size - at : PAGE;
		for (size_t i = 0; i < PAGE / sizeof(*words); i++)
			words[i] = page_value(at / PAGE);
		if (pwrite(fd, words, n, (off_t)at) != (ssize_t)n)
			return -1;
	}
	return ftruncate(fd, (off_t)size);
}

static int read_file(int fd, uint64_t size)
{
	unsigned char bytes[PAGE];
	int wrong = 0;
	for (uint64_t at = 0; at < size; at += PAGE) {
		ssize_t n = pread(fd, bytes, PAGE, (off_t)at);
		if (n != (ssize_t)(size - at < PAGE ? size - at : PAGE))
			return -1;
		wrong |= page_check(bytes, at / PAGE, (size_t)n);
	}
	return wrong;
}

static int map_file(int fd, uint64_t size)
{
	if (size == 0)
		return 0;
	unsigned char *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -1;
	int wrong = pages_check(bytes, size);
	munmap(bytes, size);
	return wrong;
}

static int copy_program(int fd)
{
	struct stat st;
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0 || fstat(self, &st) != 0)
		return -1;
	while (st.st_size > 0) {
		ssize_t n = sendfile(fd, self, NULL, (size_t)st.st_size);
		if (n <= 0)
			return -1;
		st.st_size -= n;
	}
	close(self);
	return fchmod(fd, 0755);
}

static int run(const char *verb, const char *path, const char *size)
{
	int writes = strcmp(verb, "write") == 0, makes = strcmp(verb, "program") == 0;
	struct stat st;
	int fd = open(path, (writes || makes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0644);
	if (fd < 0 || fstat(fd, &st) != 0)
		return -1;
	if (writes)
		return write_file(fd, strtoull(size, NULL, 0));
	if (makes)
		return copy_program(fd);
	return strcmp(verb, "read") == 0 ? read_file(fd, (uint64_t)st.st_size)
	                                 : map_file(fd, (uint64_t)st.st_size);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	int r;
	if (argc == 2 && strcmp(verb, "self") == 0) {
		r = pages_check(text_pattern, (uint64_t)TEXT_PAGES * PAGE);
	} else if (argc == 3 && strcmp(verb, "exec") == 0) {
		r = execl(argv[2], argv[2], "self", (char *)NULL);
	} else if (argc == 3 + (strcmp(verb, "write") == 0) &&
	           strstr("write read mmap program", verb)) {
		r = run(verb, argv[2], argv[3]);
	} else {
		fprintf(stderr, "usage: mmap-validate write FILE SIZE\n"
		                "       mmap-validate read|mmap|program|exec FILE\n");
		return 2;
	}
	if (r < 0)
		perror(argv[argc > 2 ? 2 : 0]);
	return r != 0;
}
