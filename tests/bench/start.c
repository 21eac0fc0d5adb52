/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Runs a program until its first byte of output, and until it ends.
 * Usage:  start PROGRAM [ARGUMENT…]
 * Output: ns to the first byte, ns to its end, and the first line of what it printed
 */
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"

int main(int argc, char **argv)
{
	int ends[2], status;
	char line[256];
	if (argc < 2 || pipe(ends) != 0)
		errx(2, "usage: start PROGRAM [ARGUMENT...]");
	int64_t began = clock_ns();
	pid_t pid = vfork();
	if (pid < 0)
		err(1, "vfork");
	if (pid == 0) {
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	close(ends[1]);
	ssize_t n = read(ends[0], line, sizeof(line) - 1);
	int64_t first = clock_ns() - began;
	if (waitpid(pid, &status, 0) != pid || status != 0 || n <= 0)
		errx(1, "%s: status %x, %zd bytes of output", argv[1], status, n);
	int64_t all = clock_ns() - began;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	printf("%lld %lld %s\n", (long long)first, (long long)all, line);
	return 0;
}
