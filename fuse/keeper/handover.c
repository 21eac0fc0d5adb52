/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/keeper/handover.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x315245564f43414c) /* "LACOVER1" */
#define AGAIN_PAUSE 20000                  /* µs */

static bool write_all(int fd, const void *data, size_t size)
{
	for (const char *p = data; size > 0;) {
		ssize_t n = write(fd, p, size);
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

/* Of all that it names: FD_CLOEXEC, or 0. */
static void flags_set(const struct handover *h, int flags)
{
	const int32_t fds[] = {h->area, h->socket, h->output, h->errors, h->client};
	for (unsigned n = 0; n < G_N_ELEMENTS(fds); n++)
		if (fds[n] >= 0)
			fcntl(fds[n], F_SETFD, flags);
	for (unsigned n = 0; n < KEPT_MAX; n++)
		if (h->fds[n] >= 0)
			fcntl(h->fds[n], F_SETFD, flags);
}

/* The mount point: for ps(1). */
static const char *last_word(const char *words, size_t size)
{
	const char *word = words + size - 1;
	while (word > words && word[-1])
		word--;
	return word;
}

void handover_exec(const struct handover *h, const char *words, int program)
{
	struct handover out = *h;
	char option[32];
	char *const argv[] = {"lacunafs", option, (char *)last_word(words, h->words_size), NULL};
	int fd = memfd_create("handover", 0);
	out.magic = MAGIC;
	out.version = HANDOVER_VERSION;
	if (fd < 0)
		return;
	snprintf(option, sizeof(option), HANDOVER_OPTION "%d", fd);
	flags_set(h, 0);
	if (write_all(fd, &out, sizeof(out)) && write_all(fd, words, h->words_size))
		fexecve(program, argv, environ);
	int err = errno;
	flags_set(h, FD_CLOEXEC);
	close(fd);
	errno = err;
}

void handover_again(const struct handover *h, const char *words)
{
	struct handover next = *h;
	if (h->role != HANDOVER_KEEPER || h->tries >= HANDOVER_TRIES)
		return;
	int program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (program < 0)
		return;
	next.tries++;
	usleep(AGAIN_PAUSE);
	handover_exec(&next, words, program);
	close(program);
}

bool handover_read(int fd, struct handover *h, char **words, const char **why)
{
	*words = NULL;
	*why = "the descriptor is not of a keeper";
	if (pread(fd, h, sizeof(*h), 0) != sizeof(*h) || h->magic != MAGIC)
		return false;
	*why = "the keeper of this mount is of another version";
	if (h->version != HANDOVER_VERSION)
		return false;
	flags_set(h, FD_CLOEXEC);
	*why = "the keeper's words are damaged";
	if (h->words_size == 0 || h->words_size > HANDOVER_WORDS_MAX)
		return false;
	*words = g_malloc(h->words_size);
	ssize_t n = pread(fd, *words, h->words_size, sizeof(*h));
	if (n != (ssize_t)h->words_size || (*words)[n - 1])
		return false;
	close(fd);
	return true;
}
