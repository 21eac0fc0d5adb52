/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "lib/hsm/hsm.h"
#include "lib/hsm/inside.h"
#include "lib/hsm/mounts.h"

/* Environment variables set by `lacunafs hsm`: the only mount to be emulated, and the name by which
 * the mount knows this handler. */
static const char MOUNT[] = "LACUNAFS_HSM_MOUNT", NAME[] = "LACUNAFS_HSM_NAME";

struct connection *connection_find(const struct group *g, dev_t dev)
{
	for (struct connection *c = g->connections; c; c = c->next)
		if (c->dev == dev)
			return c;
	return NULL;
}

static bool connection_wanted(dev_t dev)
{
	const char *only = getenv(MOUNT);
	struct stat st;
	return !only || !*only || (real()->stat(only, &st) == 0 && st.st_dev == dev);
}

static int connection_attach(struct group *g, struct connection *c, const char *path)
{
	const struct lacuna_options options = {
	        .size = sizeof(options), .mode = LACUNA_EVERY, .name = getenv(NAME)};
	int r = lacuna_attach(path, &options, &c->handler, NULL);
	if (r == 0)
		r = inside_hide(c->handler);
	return r == 0 ? group_watch(g, lacuna_fd(c->handler)) : r;
}

int connection_get(struct group *g, int fd, const struct stat *st, struct connection **out)
{
	struct statfs fs;
	*out = connection_find(g, st->st_dev);
	if (*out || fstatfs(fd, &fs) != 0 || fs.f_type != FUSE_SUPER_MAGIC ||
	    !connection_wanted(st->st_dev))
		return 0;
	struct connection *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c->dev = st->st_dev;
	int r = connection_attach(g, c, path);
	if (r == 0)
		r = mount_of(fd, &c->point, &c->root);
	if (r == 0) {
		c->next = g->connections;
		*out = g->connections = c;
		return 0;
	}
	connection_free(c, false);
	return r == -ENOTTY || r == -ECONNREFUSED ? 0 : r;
}

static void connection_leave(struct connection *c, bool lost)
{
	if (c->handler)
		inside_close(c->handler, lost);
	c->handler = NULL;
}

void connection_free(struct connection *c, bool lost)
{
	connection_leave(c, lost);
	while (c->marks) {
		struct mark *m = c->marks;
		c->marks = m->next;
		free(m);
	}
	free(c->point);
	free(c->root);
	free(c);
}

static int connection_set(struct connection *c, unsigned flags, unsigned scope, uint64_t ino)
{
	int r = lacuna_mark_ino(c->handler, flags, scope, ino);
	return r == -ENOENT && flags & LACUNA_MARK_REMOVE ? 0 : r;
}

int connection_tell(struct connection *c, const struct mark *m, unsigned before, unsigned after)
{
	static const struct {
		unsigned effect, flag, scope;
	} parts[] = {
	        {RULES_OBJECT, 0, LACUNA_MARK_FILE},
	        {RULES_CHILDREN, 0, LACUNA_MARK_CHILDREN},
	        {RULES_IGNORE_OBJECT, LACUNA_MARK_IGNORE, LACUNA_MARK_FILE},
	        {RULES_IGNORE_CHILDREN, LACUNA_MARK_IGNORE, LACUNA_MARK_CHILDREN},
	};
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(*parts); i++) {
		unsigned was = before & parts[i].effect, is = after & parts[i].effect;
		unsigned scope = m->type == 0 ? parts[i].scope : LACUNA_MARK_MOUNT;
		if (was != is)
			r = connection_set(
			        c, (is ? LACUNA_MARK_ADD : LACUNA_MARK_REMOVE) | parts[i].flag,
			        scope, m->ino);
	}
	return r;
}

/* The kernel never gives up a slow handler: if a mount that still exists did, attaches again. Its
 * unanswered events come again. */
static int connection_resume(struct group *g, struct connection *c)
{
	struct stat st;
	connection_leave(c, true);
	if (real()->stat(c->point, &st) != 0 || st.st_dev != c->dev)
		return -ENOTTY;
	int r = connection_attach(g, c, c->point);
	for (const struct mark *m = c->marks; m && r == 0; m = m->next)
		r = connection_tell(c, m, 0, rules_mark_effect(&m->is, m->directory));
	return r;
}

/* An unmount removes the marks of a mount, as in the kernel, and nothing else happens. */
static void connection_broken(struct group *g, struct connection *c)
{
	struct connection **at = &g->connections;
	struct hsm_event *lists[] = {g->given, g->queue};
	for (int i = 0; i < 2; i++)
		for (struct hsm_event *e = lists[i]; e; e = e->next)
			if (e->from == c)
				e->from = NULL;
	if (connection_resume(g, c) == 0)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	connection_free(c, true);
}

int connection_next(struct group *g, struct connection *c, struct hsm_event **out)
{
	struct lacuna_request *request;
	int r = lacuna_next(c->handler, 0, &request);
	if (r == -ECONNRESET || r == -EPROTO)
		connection_broken(g, c);
	if (r < 0)
		return r == -EPROTO ? -ECONNRESET : r;
	struct hsm_event *e = calloc(1, sizeof(*e));
	if (!e) {
		lacuna_respond(c->handler, request, LACUNA_DENY, 0);
		return -ENOMEM;
	}
	*e = (struct hsm_event){.from = c, .request = request, .fd = -1};
	*out = e;
	return 0;
}

bool connection_watches(const struct connection *c, uint64_t ino)
{
	unsigned effect = 0;
	for (const struct mark *m = c->marks; m; m = m->next) {
		unsigned of = rules_mark_effect(&m->is, m->directory);
		/* The library does not know which files are in a marked directory */
		if (m->type != 0 || m->ino == ino || of & RULES_CHILDREN)
			effect |= of;
	}
	return effect & (RULES_OBJECT | RULES_CHILDREN) && !(effect & RULES_IGNORE_OBJECT);
}

void connection_answer(struct connection *c, struct lacuna_request *r, bool allow, int error)
{
	lacuna_respond(c->handler, r, allow ? LACUNA_ALLOW : LACUNA_DENY, error);
}

void event_drop(struct hsm_event *e)
{
	if (e->file) {
		e->file->locked = false;
		file_unref(e->file);
	}
	if (e->request)
		inside_free(e->request);
	free(e);
}
