/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/table.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "lib/hsm/hsm.h"

enum { LEVEL = 1024, HIDDEN_FROM = 512 };

static struct entry *_Atomic levels[LEVEL];
static atomic_uint known;
static _Atomic pid_t owner;

static struct entry *entry_at(int fd)
{
	struct entry *level =
	        fd >= 0 && fd < LEVEL * LEVEL
	                ? atomic_load_explicit(&levels[fd / LEVEL], memory_order_acquire)
	                : NULL;
	return level ? &level[fd % LEVEL] : NULL;
}

enum entry_kind table_kind(int fd)
{
	const struct entry *e = entry_at(fd);
	return e ? __atomic_load_n(&e->kind, __ATOMIC_RELAXED) : ENTRY_NONE;
}

bool table_knows(int fd)
{
	return atomic_load_explicit(&known, memory_order_relaxed) > 0 &&
	       table_kind(fd) != ENTRY_NONE && !hsm_inside &&
	       getpid() == atomic_load_explicit(&owner, memory_order_relaxed);
}

bool table_ours(void)
{
	return atomic_load_explicit(&known, memory_order_relaxed) > 0 && getpid() == owner;
}

const struct entry *table_get(int fd)
{
	static const struct entry none;
	const struct entry *e = entry_at(fd);
	return e ? e : &none;
}

int table_set(int fd, struct entry e)
{
	if (fd < 0 || fd >= LEVEL * LEVEL)
		return -EMFILE;
	if (e.kind != ENTRY_NONE && !entry_at(fd)) {
		struct entry *level = calloc(LEVEL, sizeof(*level));
		if (!level)
			return -ENOMEM;
		atomic_store_explicit(&levels[fd / LEVEL], level, memory_order_release);
	}
	struct entry *at = entry_at(fd), old = at ? *at : (struct entry){0};
	if (!at)
		return 0;
	if (e.kind != ENTRY_NONE) {
		table_adopt();
		atomic_fetch_add(&known, 1);
	}
	__atomic_store_n(&at->kind, e.kind, __ATOMIC_RELAXED);
	at->group = e.group;
	if (old.kind != ENTRY_NONE)
		atomic_fetch_sub(&known, 1);
	if (old.kind == ENTRY_GROUP)
		group_closed(old.group);
	else if (old.kind == ENTRY_FILE)
		file_unref(old.file);
	return 0;
}

int table_next(int first, int last)
{
	if (atomic_load_explicit(&known, memory_order_relaxed) == 0)
		return -1;
	for (int fd = first; fd <= last && fd < LEVEL * LEVEL; fd++) {
		const struct entry *e = entry_at(fd);
		if (!e)
			fd |= LEVEL - 1;
		else if (e->kind != ENTRY_NONE)
			return fd;
	}
	return -1;
}

void table_adopt(void)
{
	atomic_store_explicit(&owner, getpid(), memory_order_relaxed);
}

int hidden_keep(int fd)
{
	struct rlimit limit;
	int from = HIDDEN_FROM;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= HIDDEN_FROM * 2)
		from = (int)limit.rlim_cur / 2;
	int high = real()->fcntl(fd, F_DUPFD_CLOEXEC, from);
	real()->close(fd);
	if (high >= 0 && table_set(high, (struct entry){.kind = ENTRY_HIDDEN}) != 0) {
		real()->close(high);
		return -1;
	}
	return high;
}

void hidden_close(int fd)
{
	if (fd < 0)
		return;
	table_set(fd, (struct entry){.kind = ENTRY_NONE});
	real()->close(fd);
}
