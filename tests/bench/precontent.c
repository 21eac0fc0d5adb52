/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The kernel's own lazy files, to compare with: a tree of sparse stubs, filled before each
 * access from another directory of the same file system by a fanotify pre-content handler.
 * Usage:   precontent SOURCE STUBS    STUBS: an empty directory; both as absolute paths
 * Shape:   STUBS is bind-mounted onto itself and that mount alone is marked, so nothing else
 *          on the machine is asked for; a file that is whole gets an ignore mark
 * Output:  "ready" when it answers; at SIGUSR1 the bytes it copied and the events it had
 * Ends:    at SIGTERM, with the mount
 * Source:  kernel 6.14, include/uapi/linux/fanotify.h; older headers lack the constants
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "clock.h"

#define PRE_ACCESS 0x00100000
#define INFO_RANGE 6
#define CHUNK 65536

struct range { /* the information record of a pre-content event */
	struct fanotify_event_info_header header;
	uint32_t pad;
	uint64_t offset, count;
};

struct stub {
	ino_t ino;
	uint64_t size, missing; /* missing: in chunks */
	char *source;
	unsigned char *present; /* a bit a chunk; made when it is first needed */
};

static struct stub *stubs; /* sorted by ino once the tree is made */
static size_t count, capacity;
static uint64_t filled, events;
static const char *from, *to;

static int stub_make(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char *below;
	(void)type, (void)ftw;
	if (asprintf(&below, "%s%s", to, path + strlen(from)) < 0)
		err(1, "asprintf");
	if (S_ISDIR(st->st_mode)) {
		if (mkdir(below, 0755) != 0 && errno != EEXIST)
			err(1, "%s", below);
	} else if (S_ISREG(st->st_mode)) {
		struct stat made;
		int fd = open(below, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 0777);
		const struct timespec times[2] = {st->st_atim, st->st_mtim};
		if (fd < 0 || ftruncate(fd, st->st_size) != 0 || fstat(fd, &made) != 0 ||
		    futimens(fd, times) != 0)
			err(1, "%s", below);
		close(fd);
		if (count == capacity) {
			capacity = capacity ? capacity * 2 : 4096;
			stubs = realloc(stubs, capacity * sizeof(*stubs));
			if (!stubs)
				err(1, "realloc");
		}
		stubs[count++] = (struct stub){
		        .ino = made.st_ino,
		        .size = (uint64_t)st->st_size,
		        .missing = ((uint64_t)st->st_size + CHUNK - 1) / CHUNK,
		        .source = strdup(path),
		};
	}
	free(below);
	return 0;
}

static int stub_compare(const void *a, const void *b)
{
	const struct stub *x = a, *y = b;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int copy(int source, int target, uint64_t offset, uint64_t length)
{
	off_t in = (off_t)offset, out = (off_t)offset;
	while (length > 0) {
		ssize_t n = copy_file_range(source, &in, target, &out, length, 0);
		if (n <= 0)
			return -EIO;
		length -= (uint64_t)n;
		filled += (uint64_t)n;
	}
	return 0;
}

/* Every run of absent chunks of the range by one copy. */
static int stub_fill(struct stub *s, int target, uint64_t offset, uint64_t length)
{
	uint64_t chunks = (s->size + CHUNK - 1) / CHUNK, at = offset / CHUNK;
	uint64_t end = length > s->size ? chunks : (offset + length + CHUNK - 1) / CHUNK;
	int source = -1, error = 0;
	if (!s->present)
		s->present = calloc(chunks / 8 + 1, 1);
	if (!s->present)
		return -ENOMEM;
	for (end = end < chunks ? end : chunks; at < end && error == 0; at++) {
		uint64_t first = at;
		while (at < end && !(s->present[at / 8] & 1 << at % 8))
			at++;
		if (at == first)
			continue;
		uint64_t stop = at * CHUNK < s->size ? at * CHUNK : s->size;
		if (source < 0)
			source = open(s->source, O_RDONLY | O_CLOEXEC);
		error = source < 0 ? -errno
		                   : copy(source, target, first * CHUNK, stop - first * CHUNK);
		for (uint64_t i = first; i < at && error == 0; i++, s->missing--)
			s->present[i / 8] |= (unsigned char)(1 << i % 8);
	}
	if (source >= 0)
		close(source);
	return error;
}

static void event_answer(int group, const struct fanotify_event_metadata *e)
{
	const struct range *r = (const struct range *)((const char *)e + e->metadata_len);
	struct fanotify_response answer = {.fd = e->fd, .response = FAN_ALLOW};
	struct stat st;
	events++;
	if (fstat(e->fd, &st) != 0 || e->event_len < e->metadata_len + sizeof(*r) ||
	    r->header.info_type != INFO_RANGE)
		errx(1, "an event that is none");
	struct stub key = {.ino = st.st_ino};
	struct stub *s = bsearch(&key, stubs, count, sizeof(key), stub_compare);
	if (s && s->missing > 0 && stub_fill(s, e->fd, r->offset, r->count) != 0)
		answer.response = FAN_DENY;
	if (s && s->missing == 0) {
		char self[32];
		snprintf(self, sizeof(self), "/proc/self/fd/%d", e->fd);
		fanotify_mark(group,
		              FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
		              PRE_ACCESS, AT_FDCWD, self);
	}
	if (write(group, &answer, sizeof(answer)) != sizeof(answer))
		err(1, "answering");
	close(e->fd);
}

static void events_answer(int group)
{
	static char buffer[8192] __attribute__((aligned(8)));
	ssize_t n = read(group, buffer, sizeof(buffer));
	if (n < 0)
		err(1, "reading events");
	const struct fanotify_event_metadata *e = (void *)buffer;
	for (; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n))
		event_answer(group, e);
}

int main(int argc, char **argv)
{
	sigset_t set;
	if (argc != 3 || argv[1][0] != '/' || argv[2][0] != '/')
		errx(2, "usage: precontent /SOURCE /STUBS");
	from = argv[1], to = argv[2];
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (nftw(from, stub_make, 64, FTW_PHYS) != 0)
		err(1, "%s", from);
	qsort(stubs, count, sizeof(*stubs), stub_compare);
	int group = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE |
	                                  FAN_UNLIMITED_MARKS,
	                          O_RDWR | O_LARGEFILE | O_CLOEXEC);
	if (group < 0)
		err(1, "fanotify_init");
	if (mount(to, to, NULL, MS_BIND, NULL) != 0)
		err(1, "bind mount of %s", to);
	if (fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT, PRE_ACCESS, AT_FDCWD, to) != 0) {
		int error = errno;
		umount2(to, MNT_DETACH);
		errno = error;
		err(3, "pre-content events");
	}
	struct pollfd fds[2] = {{.fd = group, .events = POLLIN},
	                        {.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN}};
	puts("ready");
	fflush(stdout);
	while (poll(fds, 2, -1) > 0) {
		struct signalfd_siginfo info;
		if (fds[0].revents)
			events_answer(group);
		if (!fds[1].revents)
			continue;
		if (read(fds[1].fd, &info, sizeof(info)) != sizeof(info) ||
		    info.ssi_signo != SIGUSR1)
			break;
		printf("%llu %llu\n", (unsigned long long)filled, (unsigned long long)events);
		fflush(stdout);
	}
	umount2(to, MNT_DETACH);
	return 0;
}
