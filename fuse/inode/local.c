/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Inodes with a local object that takes precedence: made or changed here. */
#include "fuse/inode/local.h"
#include <errno.h>
#include <sys/stat.h>
#include "fetch/base/nanoseconds.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/twin.h"
#include "fuse/inode/ways.h"

static int keep_other(struct server *s, struct inode *i, struct listing *l, uint32_t index,
                      const char *path, const char *remote)
{
	struct store_origin origin = {
	        .ino = i->ino,
	        .size = i->size,
	        .mtime_ns = i->mtime_ns,
	        .mode = i->mode,
	        .uid = i->uid,
	        .gid = i->gid,
	        .nlink = i->nlink,
	};
	const struct store_kept kept = {.remote = remote, .listing = l, .index = index};
	const char *target = l ? listing_target(l, listing_at(l, index)) : NULL;
	return S_ISLNK(i->type) && !target
	               ? -ESTALE
	               : tree_keep(s->store, path, &kept, &origin, target, i->rdev);
}

/* Makes the name local, in the directory that has it by now. */
static void keep_name(struct server *s, struct inode *i)
{
	bool there = false;
	while (!there) {
		struct inode *parent = inode_parent(s, i, NULL);
		if (!parent)
			return;
		struct directory *d = inode_open_directory(s, parent);
		rwlock_rdlock(&s->names);
		bool own = !i->nameless && names_owner_locked(i) == i;
		there = !own || i->parent == parent;
		if (there && own)
			directory_local_add(d, i->name, i->type);
		rwlock_unlock(&s->names);
		inode_put(s, parent);
	}
}

/* A local name must be found whatever happens to its directories at the source: keeps them. The
 * root needs no name. */
static int keep_ancestors(struct server *s, struct inode *i)
{
	struct inode *parent = inode_parent(s, i, NULL);
	bool named = parent && inode_id(parent) != FUSE_ROOT_ID && !i->nameless;
	int err = named ? inode_keep_quietly(s, parent) : 0;
	inode_put(s, parent);
	return err;
}

static int keep(struct server *s, struct inode *i)
{
	g_autofree char *remote = inode_remote(s, i);
	if (!remote)
		return ESTALE;
	uint32_t index = 0;
	struct listing *l = inode_listed(s, i, &index);
	struct content *c = S_ISREG(i->type) ? inode_open_content(s, i) : NULL;
	g_autofree char *name = NULL;
	struct inode *dir = inode_parent(s, i, &name);
	struct way w;
	way_to(s, i, &w);
	int err =
	        c ? content_keep(c, w.path, l, index) : keep_other(s, i, l, index, w.path, remote);
	struct tree_node node;
	if (err == 0 && S_ISREG(i->type) && i->nlink > 1)
		err = tree_materialise(s->store, w.path, i->ino);
	if (err == 0)
		err = tree_look(s->store, w.path, &node);
	way_end(s, &w);
	uint64_t listed = l ? listing_at(l, index)->ino : 0;
	if (c)
		content_unref(c);
	if (l)
		listing_unref(l);
	if (err == 0) {
		if (!S_ISDIR(i->type) && !S_ISREG(i->type))
			node.st.st_ino = i->ino;
		inode_take(s, i, &node);
		if (S_ISREG(i->type) && node.st.st_ino == i->ino)
			twin_take(s, i, dir, name, listed);
		else if (S_ISREG(i->type) && !i->indexed)
			twin_follow(s, i, node.st.st_ino); /* kept before, as another inode's */
		tree_node_clear(&node);
		keep_name(s, i);
	}
	inode_put(s, dir);
	return -err;
}

static void changed_locked(struct inode *i) REQUIRES(i->lock)
{
	if (i->local) {
		i->extra->changed = true;
		i->extra->changed_ns = clock_now();
	}
}

void inode_changed(struct inode *i)
{
	mutex_lock(&i->lock);
	changed_locked(i);
	mutex_unlock(&i->lock);
}

void inode_grown(struct inode *i, uint64_t end)
{
	mutex_lock(&i->lock);
	i->size = MAX(i->size, end);
	changed_locked(i);
	mutex_unlock(&i->lock);
}

void inode_cut(struct inode *i, uint64_t size)
{
	mutex_lock(&i->lock);
	i->size = size;
	changed_locked(i);
	mutex_unlock(&i->lock);
}

static int keep_now(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	bool local = i->local;
	mutex_unlock(&i->lock);
	if (local)
		return 0;
	int err = keep_ancestors(s, i);
	if (err)
		return err;
	if (!claims_enter(i)) /* its version stays as it is meanwhile */
		return CLAIM_BUSY;
	err = i->local ? 0 : keep(s, i);
	claims_leave(i);
	return err;
}

/* A file with several remote names is kept, too, when one of them is removed, and then has none in
 * the tree: local changes must not vanish with the names at the source. */
static int keep_linked(struct server *s, struct inode *i)
{
	g_autofree char *name = NULL;
	struct inode *parent = i->indexed ? inode_parent(s, i, &name) : NULL;
	struct directory *d = parent ? inode_open_directory(s, parent) : NULL;
	int err = 0;
	if (d && !directory_has_local(d, name)) {
		struct way w;
		err = keep_ancestors(s, i);
		way_to_child(s, parent, name, i, &w);
		if (err == 0 && names_has(s, i, parent, name)) {
			err = -tree_materialise(s->store, w.path, i->ino);
			if (err == 0)
				directory_local_add(d, name, i->type);
		}
		way_end(s, &w);
	}
	inode_put(s, parent);
	return err;
}

int inode_keep(struct server *s, struct inode *i)
{
	int err = keep_now(s, i);
	if (err == 0)
		err = keep_linked(s, i);
	if (err == 0)
		inode_changed(i);
	return err;
}

int64_t inode_ctime(struct inode *i)
{
	struct stat st;
	inode_stat(i, &st);
	return nanoseconds(st.st_ctim);
}

void inode_hide_ctime(struct inode *i, int64_t shown_ns)
{
	mutex_lock(&i->lock);
	struct inode_extra *x = i->extra;
	if (x && x->ctime_ns != shown_ns) {
		x->hidden_ctime_ns = x->ctime_ns;
		x->shown_ctime_ns = x->ctime_ns = shown_ns;
	}
	mutex_unlock(&i->lock);
}

int inode_keep_quietly(struct server *s, struct inode *i)
{
	int64_t before = inode_ctime(i);
	bool local = i->local;
	int err = keep_now(s, i);
	if (err == 0 && !local)
		inode_hide_ctime(i, before);
	return err;
}

void inode_count_links(struct server *s, struct inode *i, int change)
{
	if (!i->indexed)
		return;
	i->nlink += (uint32_t)change;
	if (i->nlink == 0)
		tree_index_drop(s->store, i->ino);
}

int inode_materialise(struct server *s, struct inode *dir, struct inode *i, const char *name)
{
	struct directory *d = inode_open_directory(s, dir);
	if (!i->indexed || directory_has_local(d, name))
		return 0;
	struct way w;
	way_to_child(s, dir, name, i, &w);
	int err = -tree_materialise(s->store, w.path, i->ino);
	way_end(s, &w);
	if (err == 0)
		directory_local_add(d, name, i->type);
	return err;
}

int inode_open_local(struct server *s, struct inode *i, int flags)
{
	struct way w;
	way_to(s, i, &w);
	int fd = tree_open(s->store, w.path, flags);
	/* replaced between look-up and open: the kernel looks the name up again */
	if (fd == -ENOENT && i->nameless)
		fd = -ESTALE;
	way_end(s, &w);
	return fd;
}

struct inode *child_local(struct server *s, struct inode *dir, const char *name, bool lookup,
                          uint64_t *number, int *err)
{
	struct tree_node node;
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	*err = -tree_look(s->store, w.path, &node);
	way_end(s, &w);
	if (*err)
		return NULL;
	if (number)
		*number = node.st.st_ino;
	struct inode *i = inode_intern_local(s, dir, name, &node, lookup);
	/* nlink may include a name in /unlinked that went as the file was found again */
	if (i && node.st.st_nlink > 1 && S_ISREG(node.st.st_mode))
		inode_refresh(s, i);
	tree_node_clear(&node);
	if (!i)
		*err = ENOMEM;
	/* put there by hand, or by a version that did not keep the parents of a kept file */
	if (!dir->local && inode_id(dir) != FUSE_ROOT_ID && !s->read_only)
		inode_keep_quietly(s, dir);
	return i;
}
