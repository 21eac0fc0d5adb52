/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/relisting.h"
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/ops/replay.h"

#define OPCODE_STATX 52 /* FUSE_STATX; the headers of Debian 12 lack it */

struct relisting {
	struct lister_wait wait;
	struct pool_job job;
	struct server *server;
	struct inode *directory; /* a reference: the one that is waited for */
	size_t size;
	_Alignas(8) char message[];
};

/* What a request works on: a directory and names in it, or a file by its name. */
static bool works_on_names(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP: /* these wait for a listing themselves */
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_GETATTR:
	case OPCODE_STATX:
	case FUSE_STATFS:
	case FUSE_READ:
	case FUSE_LSEEK:
	case FUSE_RELEASE:
	case FUSE_INIT:
	case FUSE_DESTROY:
		return false;
	default:
		return true;
	}
}

/* The second inode of a request; 0: there is none. */
static uint64_t other_node(const struct fuse_in_header *in, size_t size)
{
	const void *arg = in + 1;
	size_t left = size - sizeof(*in);
	if (in->opcode == FUSE_RENAME && left >= sizeof(struct fuse_rename_in))
		return ((const struct fuse_rename_in *)arg)->newdir;
	if (in->opcode == FUSE_RENAME2 && left >= sizeof(struct fuse_rename2_in))
		return ((const struct fuse_rename2_in *)arg)->newdir;
	if (in->opcode == FUSE_LINK && left >= sizeof(struct fuse_link_in))
		return ((const struct fuse_link_in *)arg)->oldnodeid;
	return 0;
}

static void revive(struct server *s, uint64_t node)
{
	struct inode *i = node ? inode_get(s->inodes, node) : NULL;
	if (i)
		inode_revive(s, i);
	inode_put(s, i);
}

static bool is_unlisted(struct server *s, struct inode *i)
{
	if (!S_ISDIR(i->type))
		return false;
	mutex_lock(&i->lock);
	bool unlisted = i->unlisted;
	mutex_unlock(&i->lock);
	if (!unlisted)
		return false;
	struct listing *l = directory_listing(inode_open_directory(s, i), NULL);
	mutex_lock(&i->lock);
	i->unlisted = !l;
	mutex_unlock(&i->lock);
	if (l)
		listing_unref(l);
	return !l;
}

/* The inode or a directory above that has no listing, a reference; NULL: none. */
static struct inode *unlisted_above(struct server *s, uint64_t node)
{
	struct inode *i = node ? inode_get(s->inodes, node) : NULL;
	while (i && !is_unlisted(s, i)) {
		struct inode *parent = inode_parent(s, i, NULL);
		inode_put(s, i);
		i = parent;
	}
	return i;
}

/* A local directory, whose link count its listing tells. */
static struct inode *uncounted(struct server *s, uint64_t node)
{
	struct inode *i = inode_get(s->inodes, node);
	if (i && i->local && is_unlisted(s, i))
		return i;
	inode_put(s, i);
	return NULL;
}

static struct inode *unlisted_for(struct server *s, const struct fuse_buf *message)
{
	const struct fuse_in_header *in = message->mem;
	if (message->size >= sizeof(*in) &&
	    (in->opcode == FUSE_GETATTR || in->opcode == OPCODE_STATX))
		return uncounted(s, in->nodeid);
	if (message->size < sizeof(*in) || !works_on_names(in->opcode))
		return NULL;
	struct inode *i = unlisted_above(s, in->nodeid);
	return i ? i : unlisted_above(s, other_node(in, message->size));
}

static bool wait(struct relisting *r);

static void resumed(struct pool_job *job)
{
	struct relisting *r = (struct relisting *)((char *)job - offsetof(struct relisting, job));
	struct server *s = r->server;
	const struct fuse_buf message = {.size = r->size, .mem = r->message};
	struct inode *before = r->directory;
	r->directory = unlisted_for(s, &message);
	bool waits = r->directory && r->directory != before && wait(r);
	if (!waits) {
		replay_process(s, &message);
		inode_put(s, r->directory);
		g_free(r);
	}
	inode_put(s, before);
}

static void listed(struct lister_wait *w, struct listing *listing, int error)
{
	struct relisting *r = (struct relisting *)((char *)w - offsetof(struct relisting, wait));
	r->job.run = resumed;
	pool_submit(r->server->disk, &r->job);
}

/* false: there is nothing to wait for. */
static bool wait(struct relisting *r)
{
	const struct fuse_in_header *in = (const struct fuse_in_header *)r->message;
	struct listing *l = NULL;
	r->wait = (struct lister_wait){.pid = (pid_t)in->pid, .done = listed};
	bool waits = lister_want_stored(inode_open_directory(r->server, r->directory), &r->wait,
	                                &l) == -EINPROGRESS;
	if (l)
		listing_unref(l);
	return waits;
}

static void nodes_revive(struct server *s, const struct fuse_buf *message)
{
	const struct fuse_in_header *in = message->mem;
	if (message->size < sizeof(*in) || in->opcode == FUSE_FORGET ||
	    in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
		return;
	revive(s, in->nodeid);
	revive(s, other_node(in, message->size));
}

void relisting_process(struct server *s, const struct fuse_buf *message)
{
	if (s->resumed)
		nodes_revive(s, message);
	struct inode *i = s->resumed ? unlisted_for(s, message) : NULL;
	if (!i) {
		replay_process(s, message);
		return;
	}
	struct relisting *r = g_malloc0(sizeof(*r) + message->size);
	r->server = s;
	r->directory = i;
	r->size = message->size;
	memcpy(r->message, message->mem, message->size);
	if (wait(r))
		return;
	listed(&r->wait, NULL, 0); /* as loaded: looks again */
}
