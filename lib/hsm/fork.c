/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Processes that share a group after a fork(). The end of a group tells the mount that its handler
 * leaves; that must not happen while another process has the group, nor when a process was killed.
 * So each process has its own lock on a file of the group, which the kernel drops when the process
 * ends, however it does. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "lib/hsm/hsm.h"

_Thread_local bool hsm_inside;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sigset_t before_fork;
/* Shared by all descendants of one process: forks whose child has no lock of its own yet. A failed
 * fork stays counted: its groups then end as if they were killed. */
static atomic_int *forking;

sigset_t hsm_lock(void)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&lock);
	hsm_inside = true;
	return before;
}

void hsm_unlock(const sigset_t *before)
{
	hsm_inside = false;
	pthread_mutex_unlock(&lock);
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int held_lock(int fd)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
	return real()->fcntl(fd, F_SETLK, &l) == 0 ? 0 : -errno;
}

int held_new(void)
{
	int fd = memfd_create("lacunafs-hsm", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	fd = hidden_keep(fd);
	if (fd < 0)
		return -EMFILE;
	int r = held_lock(fd);
	if (r < 0) {
		hidden_close(fd);
		return r;
	}
	return fd;
}

bool held_by_others(int held)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	if (forking && atomic_load(forking) > 0)
		return true;
	return real()->fcntl(held, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static void prepare(void)
{
	before_fork = hsm_lock();
	if (group_next(NULL) && forking)
		atomic_fetch_add(forking, 1);
}

static void parent(void)
{
	hsm_unlock(&before_fork);
}

static void child(void)
{
	struct group *g = NULL;
	table_adopt();
	while ((g = group_next(g)))
		held_lock(g->held);
	if (group_next(NULL) && forking)
		atomic_fetch_sub(forking, 1);
	parent();
}

void fork_prepare(void)
{
	void *page = mmap(NULL, sizeof(*forking), PROT_READ | PROT_WRITE,
	                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED)
		forking = page;
	pthread_atfork(prepare, parent, child);
}

static atomic_bool leaving;

bool process_leaves(void)
{
	return atomic_load_explicit(&leaving, memory_order_relaxed);
}

void process_leave(void)
{
	if (!table_ours())
		return;
	atomic_store(&leaving, true);
	sigset_t before = hsm_lock();
	groups_leave();
	hsm_unlock(&before);
}
