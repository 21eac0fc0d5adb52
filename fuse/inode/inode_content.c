/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/inode_content.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/source/base/source.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"

struct content *inode_open_content(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	struct content *c = i->content;
	if (!c || !content_try_ref(c)) {
		g_autofree char *path = inode_path_known(s, i);
		struct store_origin origin = {
		        .ino = i->ino,
		        .size = i->size,
		        .mtime_ns = i->mtime_ns,
		        .mode = i->mode,
		        .uid = i->uid,
		        .gid = i->gid,
		        .nlink = i->nlink,
		};
		g_autofree char *remote = inode_remote(s, i);
		c = i->content = content_new(s->fill, path, remote ? remote : "", &origin,
		                             inode_ref(s->inodes, i));
	}
	mutex_unlock(&i->lock);
	return c;
}

source_version inode_version(struct server *s, struct inode *i, int *error)
{
	struct content *c = inode_open_content(s, i);
	source_version version = 0;
	*error = -content_open(c);
	if (*error == 0)
		version = content_version(c);
	content_unref(c);
	return version;
}

struct directory *inode_open_directory(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	struct directory *known = i->directory;
	mutex_unlock(&i->lock);
	if (known)
		return known;
	struct inode *parent = inode_parent(s, i, NULL);
	struct directory *above = parent ? inode_open_directory(s, parent) : NULL;
	mutex_lock(&i->lock);
	if (!i->directory) {
		g_autofree char *path = inode_remote(s, i);
		/* A listing under way may outlive the inode: it gets the number. */
		void *owner = (void *)(uintptr_t)i->ino;
		i->directory = path ? directory_new(s->lister, path, i->ino, owner)
		                    : directory_new_local(s->lister, i->ino, false, owner);
		directory_set_parent(i->directory, above);
		/* the worker before may have had a newer listing than the store has */
		if (i->unlisted && s->settings->listing_ttl_ms != UINT_MAX)
			directory_expire(i->directory);
	}
	struct directory *d = i->directory;
	mutex_unlock(&i->lock);
	inode_put(s, parent);
	return d;
}

struct listing *inode_listed_in(struct server *s, struct inode *i, uint32_t *index,
                                struct inode **parent)
{
	g_autofree char *name = NULL;
	struct inode *dir = inode_parent(s, i, &name);
	struct listing *l = dir ? directory_listing(inode_open_directory(s, dir), NULL) : NULL;
	if (l && listing_find(l, name, index) &&
	    (listing_at(l, *index)->mode & S_IFMT) == i->type) {
		*parent = dir;
		return l;
	}
	if (l)
		listing_unref(l);
	inode_put(s, dir);
	return NULL;
}

struct listing *inode_listed(struct server *s, struct inode *i, uint32_t *index)
{
	struct inode *parent = NULL;
	if (inode_id(i) == FUSE_ROOT_ID) {
		*index = 0;
		return source_top(s->source);
	}
	struct listing *l = inode_listed_in(s, i, index, &parent);
	inode_put(s, parent);
	return l;
}

void inode_stat(struct inode *i, struct stat *st)
{
	mutex_lock(&i->lock);
	struct timespec mtime = nanoseconds_split(i->mtime_ns);
	uint64_t size = S_ISDIR(i->type) && i->size == 0 ? 4096 : i->size;
	*st = (struct stat){
	        .st_ino = i->shown,
	        .st_mode = i->mode,
	        .st_nlink = i->nlink,
	        .st_uid = i->uid,
	        .st_gid = i->gid,
	        .st_rdev = makedev(i->rdev >> 20, i->rdev & 0xfffff),
	        .st_size = size,
	        .st_blksize = 4096,
	        /* Absent data is no hole: GNU tar -S takes 0 blocks for an empty file */
	        .st_blocks = (size + 511) / 512,
	        .st_atim = mtime,
	        .st_mtim = mtime,
	        .st_ctim = mtime,
	};
	if (i->local) {
		st->st_atim = nanoseconds_split(i->extra->atime_ns);
		st->st_ctim = nanoseconds_split(i->extra->ctime_ns);
		if (i->born)
			st->st_blocks = i->extra->blocks;
	}
	mutex_unlock(&i->lock);
}
