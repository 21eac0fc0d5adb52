/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* New names: create, O_TMPFILE, mkdir, mknod, symlink, link. The name's directory becomes local
 * first, so that its times are its own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/events/registry.h"
#include "fuse/inode/access.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/iomode.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/names.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/twin.h"
#include "fuse/inode/walked.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/release.h"
#include "fuse/ops/replay.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/setid.h"

/* The directory of a new name, with a reference; NULL and a positive errno. */
static struct inode *directory_for(fuse_req_t req, fuse_ino_t parent, const char *name, int *err)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, parent);
	*err = !i || !S_ISDIR(i->type) ? ESTALE : s->read_only ? EROFS : i->nameless ? ENOENT : 0;
	if (*err == 0 && name && strlen(name) > 255)
		*err = ENAMETOOLONG;
	if (*err == 0)
		*err = name ? inode_keep(s, i) : inode_keep_quietly(s, i);
	if (*err == 0)
		return i;
	inode_put(s, i);
	return NULL;
}

static struct tree_maker maker(fuse_req_t req, uint32_t mode, dev_t rdev, const char *target)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	return (struct tree_maker){
	        .uid = ctx->uid,
	        .gid = ctx->gid,
	        .umask = ctx->umask,
	        .mode = mode,
	        .rdev = (major(rdev) << 20) | minor(rdev),
	        .target = target,
	};
}

/* Looks the new name up: a reference. The name exists even if that fails: then the caller may never
 * learn of it, and the kernel, which caches its absence, is notified. */
static struct inode *made(struct server *s, struct inode *dir, const char *name, uint32_t type,
                          int *err)
{
	twin_unname(s, dir, name);
	directory_local_add(inode_open_directory(s, dir), name, type);
	walked_drop(s, dir);
	inode_changed(dir);
	struct inode *i = child_local(s, dir, name, true, NULL, err);
	if (!i) {
		if (!replay_is_done())
			notifier_entry(s->notifier, inode_id(dir), name);
		replay_set_done();
		return NULL;
	}
	if (type == S_IFDIR) {
		mutex_lock(&i->lock);
		if (!i->directory)
			i->directory = directory_new_local(s->lister, i->ino, true,
			                                   (void *)(uintptr_t)i->ino);
		mutex_unlock(&i->lock);
	}
	return i;
}

static int name_make(struct server *s, struct inode *dir, const char *name,
                     const struct tree_maker *m)
{
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	int err = -tree_make(s->store, w.path, m);
	way_end(s, &w);
	return err;
}

static bool exists(struct server *s, struct inode *dir, const char *name)
{
	struct tree_node node;
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	int err = tree_look(s->store, w.path, &node);
	way_end(s, &w);
	if (err == 0)
		tree_node_clear(&node);
	return err == 0;
}

/* exists(), of a name that the kernel takes for absent: known without a look at the store where the
 * local names are loaded. */
static bool is_taken(struct server *s, struct inode *dir, const char *name)
{
	struct directory *d = inode_open_directory(s, dir);
	struct listing *l = directory_listing(d, NULL);
	bool taken = l ? directory_has_local(d, name) : exists(s, dir, name);
	if (l)
		listing_unref(l);
	return taken;
}

/* Has an earlier try of the request at hand made the name? If not, it is noted that this one does;
 * not where another has made it: sent again, it would pass for this one's. */
static bool is_made(struct server *s, struct inode *dir, const char *name)
{
	uint64_t request = replay_unique();
	if (replay_is_done())
		return true;
	if (journal_find(s->area, request))
		return exists(s, dir, name);
	if (s->area->kept && !is_taken(s, dir, name))
		journal_write(s->area, request, &(struct journal_entry){.kind = JOURNAL_MAKE});
	return false;
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, const struct tree_maker *m)
{
	struct server *s = fuse_req_userdata(req);
	int err;
	struct inode *dir = directory_for(req, parent, name, &err), *i = NULL;
	if (dir) {
		if (!is_made(s, dir, name))
			err = name_make(s, dir, name, m);
		if (err == 0)
			i = made(s, dir, name, m->mode & S_IFMT, &err);
		inode_put(s, dir);
	}
	if (i)
		entry_reply(s, req, i);
	else
		replay_fail(req, err);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct tree_maker m = maker(req, S_IFDIR | (mode & 07777), 0, NULL);
	make(req, parent, name, &m);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct tree_maker m = maker(req, S_IFLNK | 0777, 0, target);
	make(req, parent, name, &m);
}

static int file_make(struct server *s, struct inode *dir, const char *name,
                     const struct tree_maker *m)
{
	struct way w;
	bool made = is_made(s, dir, name);
	way_to_child(s, dir, name, NULL, &w);
	int fd = made ? tree_open(s->store, w.path, O_RDWR) : tree_make_file(s->store, w.path, m);
	way_end(s, &w);
	return fd;
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct server *s = fuse_req_userdata(req);
	struct tree_maker m = maker(req, mode, rdev, NULL);
	if (!S_ISREG(mode)) {
		make(req, parent, name, &m);
		return;
	}
	int err;
	struct inode *dir = directory_for(req, parent, name, &err), *i = NULL;
	if (dir) {
		int fd = file_make(s, dir, name, &m);
		err = -MIN(fd, 0);
		if (fd >= 0)
			i = made(s, dir, name, S_IFREG, &err);
		if (fd >= 0)
			close(fd);
		inode_put(s, dir);
	}
	if (i)
		entry_reply(s, req, i);
	else
		replay_fail(req, err);
}

/* Takes over `fd`. */
static void opened(fuse_req_t req, struct inode *i, int fd, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct fuse_entry_param e;
	inode_entry(s, i, &e);
	access_open(s, i, fi->flags); /* new: no handle can deny it */
	bool watched = registry_want(s->handlers, i, true);
	enum iomode_kind iomode = iomode_open(s, i, fi, fd, setid_watched(i, -1), watched);
	fi->fh = handle_open(s, i, NULL, fd, fi->flags, iomode, watched, replay_unique());
	if (reply_create(req, &e, fi) == -ENOENT) {
		handle_release(s, handle_get(s->handles, fi->fh));
		inode_forget(s, e.ino, 1);
	}
	journal_end(s->area, replay_unique());
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct tree_maker m = maker(req, S_IFREG | (mode & 07777), 0, NULL);
	int err;
	struct inode *dir = directory_for(req, parent, name, &err), *i = NULL;
	bool full = handle_table_full(s->handles);
	int fd = full ? -ENFILE : dir ? file_make(s, dir, name, &m) : -1;
	if (dir && fd < 0)
		err = -fd;
	if (fd >= 0)
		i = made(s, dir, name, S_IFREG, &err);
	inode_put(s, dir);
	if (i) {
		opened(req, i, fd, fi);
		return;
	}
	if (fd >= 0)
		close(fd);
	replay_fail(req, err);
}

void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct tree_maker m = maker(req, S_IFREG | (mode & 07777), 0, NULL);
	uint64_t number = 0;
	int err;
	struct inode *dir = directory_for(req, parent, NULL, &err), *i = NULL;
	g_autofree char *path = dir ? way_path(s, dir) : NULL;
	bool full = handle_table_full(s->handles);
	int fd = full ? -ENFILE : dir ? tree_make_nameless(s->store, path, &m, &number) : -1;
	struct tree_node node = {0};
	if (dir && fd < 0)
		err = -fd;
	if (fd >= 0) { /* the object alone does not tell owner and set-id bits */
		g_autofree char *at = g_strdup_printf("/unlinked/%016" PRIx64, number);
		err = -tree_look(s->store, at, &node);
	}
	if (fd >= 0 && err == 0) {
		node.st.st_nlink = 0;
		i = inode_intern_local(s, dir, "", &node, true);
		err = i ? 0 : ENOMEM;
	}
	tree_node_clear(&node);
	if (i) {
		rwlock_wrlock(&s->names);
		inode_extra_locked(s, i)->unlinked = number;
		i->nameless = true;
		rwlock_unlock(&s->names);
	}
	inode_put(s, dir);
	if (i) {
		opened(req, i, fd, fi);
		return;
	}
	if (fd >= 0) {
		close(fd);
		tree_orphan_drop(s->store, number);
	}
	replay_fail(req, err);
}

static int link_journal(struct server *s, const struct move *m)
{
	struct tree_node node;
	if (!s->area->kept)
		return 0;
	int err = tree_look(s->store, m->from, &node);
	if (err)
		return -err;
	struct journal_entry e = {
	        .kind = JOURNAL_LINK,
	        .newdir = inode_id(m->newdir),
	        .node = inode_id(m->i),
	        .ino = node.st.st_ino,
	};
	tree_node_clear(&node);
	g_strlcpy(e.newname, m->newname, sizeof(e.newname));
	journal_write(s->area, replay_unique(), &e);
	return 0;
}

/* The first name of a nameless file replaces its number in the store. */
static int link_both(struct server *s, const struct move *m, struct inode **dropped)
{
	struct inode *i = m->i;
	rwlock_rdlock(&s->names);
	/* another name than those that the kernel knows may be left (departure.h) */
	bool nameless = i->nameless && !i->indexed;
	bool gone = nameless && (!i->extra || !i->extra->unlinked);
	rwlock_unlock(&s->names);
	if (gone)
		return ENOENT;
	int err = link_journal(s, m);
	if (err == 0)
		err = nameless ? -tree_rename(s->store, m->from, m->to, RENAME_NOREPLACE)
		               : -tree_link(s->store, m->from, m->to);
	if (err)
		return err;
	inode_count_links(s, i, 1);
	rwlock_wrlock(&s->names);
	if (nameless)
		i->extra->unlinked = 0;
	*dropped = names_add_locked(s, i, m->newdir, m->newname);
	rwlock_unlock(&s->names);
	return 0;
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct server *s = fuse_req_userdata(req);
	int err;
	struct inode *dir = directory_for(req, newparent, newname, &err), *dropped = NULL;
	struct inode *i = dir ? inode_get(s->inodes, ino) : NULL;
	if (dir)
		err = i ? inode_keep(s, i) : ESTALE;
	if (dir && err == 0 && !replay_is_done() && !journal_is_done(s->area, replay_unique())) {
		inode_ref(s->inodes, dir); /* for the name */
		struct move m = {.i = i, .newdir = dir, .newname = newname};
		move_begin(s, &m);
		err = link_both(s, &m, &dropped);
		move_end(s, &m);
		inode_changed(i);
		inode_put(s, err ? dir : dropped);
	}
	inode_put(s, i);
	i = dir && err == 0 ? made(s, dir, newname, i->type, &err) : NULL;
	inode_put(s, dir);
	if (i)
		entry_reply(s, req, i);
	else
		replay_fail(req, err);
}
