/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/caller.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "fetch/base/lock.h"

#define TEXT_MAX (1u << 20) /* a status with all the groups that there may be */
#define BIT(number) (1ULL << ((number)-1))
#define DUMPS_CORE                                                                                 \
	(BIT(SIGQUIT) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGABRT) | BIT(SIGBUS) | BIT(SIGFPE) |    \
	 BIT(SIGSEGV) | BIT(SIGXCPU) | BIT(SIGXFSZ) | BIT(SIGSYS))

static pthread_once_t proc_once = PTHREAD_ONCE_INIT;
static int proc_fd = -1; /* stays open */
static bool hidden;      /* it shows this user's processes only, as to a tracer */
static bool (*delegate)(pid_t tid, const char *file, char *out, size_t size);
static struct mutex spare_lock = MUTEX_INIT(RANK_CALLER);
static int spare_fd = -1; /* closed for a look if no other descriptor is free; under the lock */

static bool exists(pid_t tid)
{
	return kill(tid, 0) == 0 || errno == EPERM;
}

/* Does this /proc number threads as the kernel's requests do? */
static bool is_ours(int fd)
{
	struct statfs fs;
	char self[32];
	ssize_t n = -1;
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
		n = readlinkat(fd, "self", self, sizeof(self) - 1);
	if (n < 0)
		return false;
	self[n] = '\0';
	return atoi(self) == getpid();
}

/* hidepid: other users' processes are invisible. The first of the namespace is always root's. */
static bool hides(int fd)
{
	return faccessat(fd, "1/status", R_OK, 0) != 0 && exists(1);
}

static int proc_own(void)
{
	int fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC), fd = -1;
	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	close(fs);
	return fd;
}

static void proc_find(void)
{
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool ours = is_ours(fd);
	hidden = ours && hides(fd);
	int own = ours && !hidden ? -1 : proc_own();
	if (is_ours(own)) {
		proc_fd = own;
		hidden = false;
		if (fd >= 0)
			close(fd);
		return;
	}
	if (own >= 0)
		close(own);
	if (ours) /* to an ordinary user it still shows that user's own processes */
		proc_fd = fd;
	else if (fd >= 0)
		close(fd);
}

/* A killed caller is noticed even while the daemon is short of descriptors. */
static void spare_keep(void)
{
	mutex_lock(&spare_lock);
	if (spare_fd < 0 && proc_fd >= 0)
		spare_fd = fcntl(proc_fd, F_DUPFD_CLOEXEC, 0);
	mutex_unlock(&spare_lock);
}

static void proc_begin(void)
{
	proc_find();
	spare_keep();
}

void caller_begin(void)
{
	pthread_once(&proc_once, proc_begin);
}

int caller_open(pid_t tid, const char *file)
{
	char path[64];
	caller_begin();
	snprintf(path, sizeof(path), "%d/%s", (int)tid, file);
	errno = EBADF;
	return proc_fd >= 0 && tid > 0 ? openat(proc_fd, path, O_RDONLY | O_CLOEXEC) : -1;
}

/* Reads to the end; caller frees. */
static char *text_read(int fd)
{
	GString *text = g_string_new(NULL);
	char piece[2048];
	ssize_t n;
	while ((n = read(fd, piece, sizeof(piece))) > 0 && text->len < TEXT_MAX)
		g_string_append_len(text, piece, n);
	return g_string_free(text, n != 0);
}

/* Another thread may take the descriptor in between: then there is none, until others are free. */
static char *text_by_spare(pid_t tid, const char *file)
{
	char *text = NULL;
	mutex_lock(&spare_lock);
	if (spare_fd >= 0) {
		close(spare_fd);
		spare_fd = caller_open(tid, file);
		text = spare_fd < 0 ? NULL : text_read(spare_fd);
		if (spare_fd >= 0)
			dup3(proc_fd, spare_fd, O_CLOEXEC); /* its number is never free */
	}
	mutex_unlock(&spare_lock);
	return text;
}

bool caller_line(pid_t tid, const char *file, char *out, size_t size)
{
	if (delegate && (hidden || strcmp(file, "syscall") == 0))
		return tid > 0 && delegate(tid, file, out, size);
	int fd = caller_open(tid, file);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
	if (fd >= 0)
		close(fd);
	out[MAX(n, 0)] = '\0';
	return n > 0;
}

void caller_delegate(bool (*line)(pid_t tid, const char *file, char *out, size_t size))
{
	delegate = line;
}

int caller_proc(void)
{
	caller_begin();
	return proc_fd;
}

char *caller_text(pid_t tid, const char *file)
{
	char line[8192];
	if (delegate && hidden)
		return caller_line(tid, file, line, sizeof(line)) ? g_strdup(line) : NULL;
	int fd = caller_open(tid, file);
	if (fd < 0)
		return errno == EMFILE ? text_by_spare(tid, file) : NULL;
	char *text = text_read(fd);
	close(fd);
	spare_keep();
	return text;
}

struct signals {
	unsigned long long own, shared, blocked, ignored, caught;
	int tracer;
	char state;
};

static void line_take(const char *line, struct signals *s)
{
	if (sscanf(line, "SigPnd: %llx", &s->own) == 1 ||
	    sscanf(line, "ShdPnd: %llx", &s->shared) == 1 ||
	    sscanf(line, "SigBlk: %llx", &s->blocked) == 1 ||
	    sscanf(line, "SigIgn: %llx", &s->ignored) == 1 ||
	    sscanf(line, "SigCgt: %llx", &s->caught) == 1 ||
	    sscanf(line, "TracerPid: %d", &s->tracer) == 1)
		return;
	sscanf(line, "State: %c", &s->state);
}

static bool dies(const struct signals *s)
{
	unsigned long long pending = s->own | s->shared;
	if (s->state == 'Z' || s->state == 'X' || (pending & BIT(SIGKILL)))
		return true;
	return s->tracer == 0 && (pending & DUMPS_CORE & ~s->blocked & ~s->ignored & ~s->caught);
}

static bool status_read(pid_t tid, struct signals *s)
{
	g_autofree char *text = caller_text(tid, "status"); /* NULL also if the thread has gone */
	for (const char *line = text, *end; line && *line; line = *end ? end + 1 : end) {
		char one[256]; /* sscanf() looks at its whole input */
		end = strchrnul(line, '\n');
		g_strlcpy(one, line, MIN((size_t)(end - line) + 1, sizeof(one)));
		line_take(one, s);
	}
	return text;
}

enum caller caller_look(pid_t tid)
{
	struct signals s = {0};
	if (tid <= 0)
		return CALLER_UNKNOWN;
	if (!status_read(tid, &s))
		return exists(tid) ? CALLER_UNKNOWN : CALLER_DIES;
	return dies(&s) ? CALLER_DIES : CALLER_LIVES;
}
