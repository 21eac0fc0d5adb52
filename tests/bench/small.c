/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Many small files in one directory, as an unpacking, a package manager or a mail queue has them.
 * Usage:  small create DIRECTORY COUNT   each: create exclusively, write 4 KiB, close
 *         small unlink DIRECTORY COUNT   the same names
 * Output: ns files
 */
#include <fcntl.h>
#include <unistd.h>
#include "clock.h"

#define SIZE 4096

static void file_create(const char *name)
{
	static char content[SIZE];
	memcpy(content, name, strlen(name));
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", name);
	if (write(fd, content, SIZE) != SIZE)
		err(1, "writing %s", name);
	if (close(fd) != 0)
		err(1, "closing %s", name);
}

static void file_unlink(const char *name)
{
	if (unlink(name) != 0)
		err(1, "%s", name);
}

int main(int argc, char **argv)
{
	void (*work)(const char *) = NULL;
	if (argc == 4 && strcmp(argv[1], "create") == 0)
		work = file_create;
	else if (argc == 4 && strcmp(argv[1], "unlink") == 0)
		work = file_unlink;
	else
		errx(2, "usage: small create|unlink DIRECTORY COUNT");
	unsigned long count = strtoul(argv[3], NULL, 10);
	if (chdir(argv[2]) != 0)
		err(1, "%s", argv[2]);
	int64_t began = clock_ns();
	for (unsigned long i = 0; i < count; i++) {
		char name[32];
		snprintf(name, sizeof(name), "small-%06lu", i);
		work(name);
	}
	printf("%lld %lu\n", (long long)(clock_ns() - began), count);
	return 0;
}
