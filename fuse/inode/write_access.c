/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/write_access.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>

int write_access_get(struct write_access *w)
{
	for (enum write_access_level l = 0; l < WRITE_ACCESS_LEVELS; l++)
		if (w->count[l] < 0)
			return -ETXTBSY;
	for (enum write_access_level l = 0; l < WRITE_ACCESS_LEVELS; l++) {
		g_assert(w->count[l] < INT32_MAX);
		w->count[l]++;
	}
	return 0;
}

void write_access_put(struct write_access *w)
{
	for (enum write_access_level l = 0; l < WRITE_ACCESS_LEVELS; l++) {
		g_assert(w->count[l] > 0);
		w->count[l]--;
	}
}

int write_access_deny(struct write_access *w, enum write_access_level level)
{
	g_assert(level < WRITE_ACCESS_LEVELS);
	if (w->count[level] > 0)
		return -ETXTBSY;
	g_assert(w->count[level] > INT32_MIN);
	w->count[level]--;
	return 0;
}

void write_access_allow(struct write_access *w, enum write_access_level level)
{
	g_assert(level < WRITE_ACCESS_LEVELS && w->count[level] < 0);
	w->count[level]++;
}

bool write_access_ok(const struct write_access *w, enum write_access_level level)
{
	return w->count[level] >= 0;
}

static bool is_writer(int flags)
{
	return (flags & O_ACCMODE) == O_WRONLY || (flags & O_ACCMODE) == O_RDWR;
}

static bool is_exec(int flags)
{
	return (flags & O_ACCMODE) == O_RDONLY && (flags & WRITE_HANDLES_EXEC);
}

/* Do the execs deny? (Where they never do, count[EXEC] < 0 is another denier's.) */
static bool execs_deny(const struct write_handles *h, enum exec_writes policy)
{
	return policy != EXEC_WRITES_ALLOW && h->execs > 0 &&
	       !write_access_ok(&h->access, WRITE_ACCESS_EXEC);
}

static void execs_step_back(struct write_handles *h)
{
	int32_t *count = &h->access.count[WRITE_ACCESS_EXEC];
	g_assert(*count <= -(int64_t)h->execs);
	*count += (int32_t)h->execs;
}

static void execs_step_forward(struct write_handles *h)
{
	int32_t *count = &h->access.count[WRITE_ACCESS_EXEC];
	g_assert(*count <= 0 && (int64_t)*count - h->execs >= INT32_MIN);
	*count -= (int32_t)h->execs;
}

static int open_writer(struct write_handles *h, int flags, enum exec_writes policy)
{
	g_assert(h->writers < UINT32_MAX);
	bool back = policy == EXEC_WRITES_KERNEL && execs_deny(h, policy);
	if (back)
		execs_step_back(h);
	int err = write_access_get(&h->access);
	if (err) {
		if (back)
			execs_step_forward(h);
		return err;
	}
	h->writers++;
	h->mappers += (flags & O_ACCMODE) == O_RDWR;
	return 0;
}

static int open_exec(struct write_handles *h, enum exec_writes policy)
{
	g_assert(h->execs < INT32_MAX);
	struct write_access *w = &h->access;
	/* There are writers. The daemon's own are certain; of users' only the kernel knows. */
	bool ours = w->count[WRITE_ACCESS_EXEC] > (int64_t)h->writers;
	bool let_in = policy == EXEC_WRITES_ALLOW ||
	              (policy == EXEC_WRITES_KERNEL && w->count[WRITE_ACCESS_EXEC] > 0);
	int err = 0;
	if (ours)
		err = -ETXTBSY;
	else if (!let_in)
		err = write_access_deny(w, WRITE_ACCESS_EXEC);
	if (!err)
		h->execs++;
	return err;
}

int write_handles_open(struct write_handles *h, int flags, enum exec_writes policy)
{
	if (is_writer(flags))
		return open_writer(h, flags, policy);
	if (is_exec(flags))
		return open_exec(h, policy);
	return 0;
}

void write_handles_release(struct write_handles *h, int flags, enum exec_writes policy)
{
	if (is_writer(flags)) {
		g_assert(h->writers > 0);
		h->writers--;
		if ((flags & O_ACCMODE) == O_RDWR) {
			g_assert(h->mappers > 0);
			h->mappers--;
		}
		write_access_put(&h->access);
		if (policy != EXEC_WRITES_ALLOW && h->access.count[WRITE_ACCESS_EXEC] == 0)
			execs_step_forward(h);
	} else if (is_exec(flags)) {
		g_assert(h->execs > 0);
		if (execs_deny(h, policy))
			write_access_allow(&h->access, WRITE_ACCESS_EXEC);
		h->execs--;
	}
}

int write_handles_get(struct write_handles *h)
{
	return h->execs > 0 ? -ETXTBSY : write_access_get(&h->access);
}

void write_handles_put(struct write_handles *h)
{
	write_access_put(&h->access);
	/* No exec was admitted while the daemon wrote: there is none to resume. */
	g_assert(h->execs == 0);
}

bool write_handles_is_running(const struct write_handles *h)
{
	return h->execs > 0;
}

bool write_handles_is_written(const struct write_handles *h)
{
	return h->writers > 0;
}

bool write_handles_may_be_mapped(const struct write_handles *h)
{
	return h->mappers > 0;
}
