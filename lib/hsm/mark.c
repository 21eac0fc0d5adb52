/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/hsm/abi.h"
#include "lib/hsm/hsm.h"

struct call { /* of fanotify_mark() */
	unsigned flags;
	uint64_t mask;
	int dfd;
	const char *path; /* as the kernel gets it */
};

struct target {
	int fd;            /* owned, O_PATH; -1: `file` */
	struct file *file; /* owned; by the descriptor of an event */
	struct stat st;
};

static void target_clear(struct target *t)
{
	if (t->fd >= 0)
		real()->close(t->fd);
	if (t->file) {
		sigset_t before = hsm_lock();
		file_unref(t->file);
		hsm_unlock(&before);
	}
}

/* Before the lock is taken: a look-up may wait for the network. */
static int target_find(struct target *t, struct call *call)
{
	int how = O_PATH | O_CLOEXEC;
	if (call->flags & FAN_MARK_DONT_FOLLOW)
		how |= O_NOFOLLOW;
	if (call->flags & FAN_MARK_ONLYDIR)
		how |= O_DIRECTORY;
	t->fd = -1;
	t->file = call->path ? file_of_path(call->path) : file_of(call->dfd);
	if (t->file) {
		call->dfd = AT_FDCWD;
		call->path = t->file->path;
		file_stat(t->file, -1, &t->st);
		return call->flags & FAN_MARK_ONLYDIR ? -ENOTDIR : 0;
	}
	if (call->path)
		t->fd = real()->openat(call->dfd, call->path, how);
	else
		t->fd = real()->fcntl(call->dfd, F_DUPFD_CLOEXEC, 0);
	if (t->fd < 0 || real()->fstat(t->fd, &t->st) != 0)
		return -errno;
	return call->flags & FAN_MARK_ONLYDIR && !S_ISDIR(t->st.st_mode) ? -ENOTDIR : 0;
}

/* A program that cannot read a file may not watch it. */
static int target_readable(const struct target *t)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	return t->fd < 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 ? 0 : -errno;
}

static struct mark **mark_find(struct connection *c, unsigned type, uint64_t ino)
{
	struct mark **at = &c->marks;
	while (*at && ((*at)->type != type || (type == FAN_MARK_INODE && (*at)->ino != ino)))
		at = &(*at)->next;
	return at;
}

/* This library does not distinguish a mount from its file system. */
static unsigned mark_effect(const struct connection *c, const struct mark *m)
{
	unsigned effect = 0;
	if (m->type == FAN_MARK_INODE)
		return rules_mark_effect(&m->is, m->directory);
	for (const struct mark *other = c->marks; other; other = other->next)
		if (other->type != FAN_MARK_INODE)
			effect |= rules_mark_effect(&other->is, false);
	return effect;
}

/* Sets `m` and tells the mount; restores `m` if that fails. */
static int mark_become(struct connection *c, struct mark *m, const struct rules_mark *is)
{
	unsigned before = mark_effect(c, m);
	struct rules_mark was = m->is;
	m->is = *is;
	int r = connection_tell(c, m, before, mark_effect(c, m));
	if (r < 0)
		m->is = was;
	return r;
}

static int kernel_mark(struct group *g, const struct call *call, uint64_t mask)
{
	int kernel = g->kernel;
	if (kernel < 0 && (call->flags & HSM_MARK_COMMAND_BITS) != FAN_MARK_ADD)
		return -ENOENT;
	if (kernel < 0)
		kernel = group_kernel(g);
	if (kernel < 0)
		return kernel;
	return real()->fanotify_mark(kernel, call->flags, mask, call->dfd, call->path) == 0
	               ? 0
	               : -errno;
}

static int mark_add(struct group *g, struct connection *c, const struct target *t,
                    const struct call *call)
{
	unsigned type = call->flags & HSM_MARK_TYPE_BITS;
	bool directory = type == FAN_MARK_INODE && S_ISDIR(t->st.st_mode);
	uint64_t others = call->mask & ~(uint64_t)HSM_PRE_ACCESS;
	struct mark **at = mark_find(c, type, t->st.st_ino), *made = NULL;
	struct rules_mark is = *at ? (*at)->is : (struct rules_mark){0};
	int r = rules_object(call->flags, call->mask, S_ISDIR(t->st.st_mode),
	                     S_ISREG(t->st.st_mode));
	if (r == 0)
		r = target_readable(t);
	if (r == 0)
		r = rules_mark_add(&is, call->flags, (uint32_t)call->mask, directory);
	if (r == 0 && others & ~(uint64_t)HSM_EVENT_FLAGS)
		r = kernel_mark(g, call, others);
	if (r < 0)
		return r;
	if (!*at) {
		made = calloc(1, sizeof(*made));
		if (!made)
			return -ENOMEM;
		*made = (struct mark){.type = type, .ino = t->st.st_ino, .directory = directory};
		*at = made;
	}
	r = mark_become(c, *at, &is);
	if (r < 0 && made) {
		*at = NULL;
		free(made);
	}
	return r;
}

static int mark_remove(struct group *g, struct connection *c, const struct target *t,
                       const struct call *call)
{
	unsigned type = call->flags & HSM_MARK_TYPE_BITS;
	uint64_t others = call->mask & ~(uint64_t)HSM_PRE_ACCESS;
	struct mark **at = mark_find(c, type, t->st.st_ino), *m = *at;
	struct rules_mark is = m ? m->is : (struct rules_mark){0};
	int r = rules_mark_remove(&is, call->flags, (uint32_t)call->mask, m && m->directory);
	if (others & ~(uint64_t)HSM_EVENT_FLAGS && kernel_mark(g, call, others) == 0 &&
	    r == -ENOENT)
		return 0;
	if (r == 0)
		r = mark_become(c, m, &is);
	if (r == 0 && !is.is) {
		*at = m->next;
		free(m);
	}
	return r;
}

static int marks_flush(struct group *g, const struct call *call)
{
	const struct rules_mark none = {0};
	int r = 0;
	for (struct connection *c = g->connections; c; c = c->next) {
		struct mark **at = &c->marks;
		while (*at) {
			struct mark *m = *at;
			if (m->type == (call->flags & HSM_MARK_TYPE_BITS)) {
				r = mark_become(c, m, &none);
				if (r < 0)
					return r;
				*at = m->next;
				free(m);
			} else {
				at = &m->next;
			}
		}
	}
	return g->kernel < 0 ? 0 : kernel_mark(g, call, call->mask);
}

static int target_mark(struct group *g, const struct target *t, const struct call *call)
{
	struct connection *c = connection_find(g, t->st.st_dev);
	bool add = (call->flags & HSM_MARK_COMMAND_BITS) == FAN_MARK_ADD;
	if (!c && add && t->fd >= 0 && call->mask & HSM_PRE_ACCESS) {
		int r = connection_get(g, t->fd, &t->st, &c);
		if (r < 0)
			return r;
	}
	if (!c)
		return kernel_mark(g, call, call->mask);
	return add ? mark_add(g, c, t, call) : mark_remove(g, c, t, call);
}

int group_mark(struct group *g, unsigned flags, uint64_t mask, int dfd, const char *path)
{
	struct call call = {.flags = flags, .mask = mask, .dfd = dfd, .path = path};
	struct target t = {.fd = -1};
	sigset_t before;
	int r = rules_mark(flags, &call.mask, g->flags);
	bool flush = (flags & HSM_MARK_COMMAND_BITS) == FAN_MARK_FLUSH;
	if (r == 0 && !flush)
		r = target_find(&t, &call);
	if (r == 0) {
		before = hsm_lock();
		r = g->left ? -EBADF : flush ? marks_flush(g, &call) : target_mark(g, &t, &call);
		hsm_unlock(&before);
	}
	target_clear(&t);
	return r;
}
