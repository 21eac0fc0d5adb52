/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/adoption.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "fetch/base/nanoseconds.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/mishap.h"
#include "fuse/inode/names.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"
#include "fuse/inode/twin.h"
#include "fuse/inode/ways.h"

void content_released(void *user, struct content *c, void *owner)
{
	struct server *s = user;
	struct inode *i = owner;
	struct mishap last = {.ino = i->ino};
	last.error = content_failure(c, &last.cause, &last.at_ns);
	if (last.error)
		mishaps_note(s->mishaps, last);
	mutex_lock(&i->lock);
	if (i->content == c)
		i->content = NULL;
	mutex_unlock(&i->lock);
	inode_put(user, i);
}

char *content_path_now(void *user, struct content *c)
{
	return way_path(user, content_owner(c));
}

void content_completed(void *user, struct content *c)
{
	struct inode *i = content_owner(c);
	bool lasts = content_lasts(c);
	mutex_lock(&i->lock);
	i->complete = lasts;
	i->version = content_version(c);
	i->number = content_number(c);
	i->behind = false; /* an incomplete file was not in passthrough */
	mutex_unlock(&i->lock);
}

/* The listing is older than the file: the next look-up must see the newer one. */
void content_changed(void *user, struct content *c)
{
	struct server *s = user;
	struct inode *i = content_owner(c);
	g_autofree char *name = NULL;
	struct inode *parent = inode_parent(s, i, &name);
	mutex_lock(&i->lock);
	i->outdated = true;
	mutex_unlock(&i->lock);
	struct directory *d = inode_open_directory(s, parent);
	directory_unresolve(d, name);
	directory_expire(d);
	notifier_inode(s->notifier, inode_id(parent), false);
	inode_put(s, parent);
}

/* Else the next open would take the kernel's pages for another version's. */
void content_rebound(void *user, struct content *c)
{
	struct inode *i = content_owner(c);
	mutex_lock(&i->lock);
	if (i->content == c && i->version != 0)
		i->version = content_version(c);
	mutex_unlock(&i->lock);
}

/* A listing may show a size for a directory, and link to it without a slash. */
void content_is_directory(void *user, struct content *c)
{
	struct server *s = user;
	g_autofree char *name = NULL;
	struct inode *parent = inode_parent(s, content_owner(c), &name);
	if (directory_found(inode_open_directory(s, parent), name)) {
		notifier_entry(s->notifier, inode_id(parent), name);
		notifier_inode(s->notifier, inode_id(parent), true);
	}
	inode_put(s, parent);
}

static bool same_attributes(const struct inode *i, const struct listing_entry *e)
{
	return i->size == e->size && i->mtime_ns == e->mtime_ns && i->mode == e->mode &&
	       i->uid == e->uid && i->gid == e->gid && i->nlink == e->nlink;
}

static void take_attributes_locked(struct inode *i, const struct listing_entry *e) REQUIRES(i->lock)
{
	i->mode = i->type | (e->mode & ~S_IFMT);
	i->uid = e->uid;
	i->gid = e->gid;
	i->nlink = e->nlink;
	if (i->size != e->size)
		i->resend_size = INODE_RESEND_SIZE;
	i->size = e->size;
	i->mtime_ns = e->mtime_ns;
}

/* Takes other data. The kernel drops the old pages, and their size, before the next open. */
static enum adoption adopt_claimed(struct server *s, struct inode *i, const struct listing_entry *e)
{
	int err;
	if (inode_version(s, i, &err) || err)
		return ADOPT_NEVER;
	mutex_lock(&i->lock);
	bool busy = i->content; /* a walk began to fetch it */
	i->outdated = busy;
	if (!busy) {
		take_attributes_locked(i, e);
		i->complete = e->size == 0;
		i->version = 0;
		i->keep_cache = false;
	}
	mutex_unlock(&i->lock);
	if (!busy)
		notifier_inode_now(s->notifier, inode_id(i));
	return busy ? ADOPT_LATER : ADOPTED;
}

enum adoption inode_adopt(struct server *s, struct inode *i, const struct listing_entry *e)
{
	bool regular = S_ISREG(i->type);
	mutex_lock(&i->lock);
	if (i->local) {
		mutex_unlock(&i->lock);
		return ADOPTED;
	}
	bool same_bytes = !regular || (i->size == e->size && i->mtime_ns == e->mtime_ns);
	bool claimed = !same_bytes && claim_try_locked(i);
	i->outdated = !same_bytes && !claimed;
	if (same_bytes && !same_attributes(i, e))
		take_attributes_locked(i, e);
	mutex_unlock(&i->lock);
	if (same_bytes)
		return ADOPTED;
	if (!claimed)
		return ADOPT_LATER;
	enum adoption adopted = adopt_claimed(s, i, e);
	claim_end(s, i);
	return adopted;
}

static bool same_entry(const struct listing_entry *a, const struct listing_entry *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->nlink == b->nlink;
}

/* The kernel may forget the inode before its next look-up, and attributes that the listing lacks
 * would be lost with it. */
void inode_list_held(struct server *s, struct inode *i)
{
	g_autofree char *path = way_path(s, i);
	struct store_probe probe;
	uint32_t index;
	struct inode *parent = NULL;
	struct listing *l = inode_listed_in(s, i, &index, &parent);
	if (l && listing_at(l, index)->ino == i->ino &&
	    store_probe(s->store, path, i->ino, &probe) == 0) {
		mutex_lock(&i->lock);
		if (!i->local && i->size == probe.size)
			i->mtime_ns = probe.mtime_ns;
		mutex_unlock(&i->lock);
		directory_resolve(inode_open_directory(s, parent), l, index, probe.size, true,
		                  probe.mtime_ns);
	}
	if (l)
		listing_unref(l);
	inode_put(s, parent);
}

/* An entry has changed. A file with present data keeps its own attributes: the listing is made to
 * agree, so that the next look-up does too. */
static void entry_changed(struct server *s, struct inode *dir, struct directory *d,
                          struct listing *after, uint32_t index, const struct listing_entry *e)
{
	const char *name = listing_name(after, e);
	struct inode *i = inode_find(s->inodes, e->ino);
	if (i && S_ISREG(e->mode) && !(e->flags & LISTING_SIZE_EXACT)) {
		/* The next look-up asks for its size; until then the old one stays. */
		if (s->session)
			notifier_entry(s->notifier, inode_id(dir), name);
	} else if (i && i->type == (e->mode & S_IFMT)) {
		enum adoption adopted = inode_adopt(s, i, e);
		if (adopted == ADOPT_NEVER) {
			struct stat st;
			inode_stat(i, &st);
			directory_resolve(d, after, index, st.st_size, true,
			                  nanoseconds(st.st_mtim));
		} else if (adopted == ADOPTED) {
			notifier_inode(s->notifier, inode_id(i), !S_ISREG(i->type));
		}
	} else if (S_ISREG(e->mode)) {
		g_autofree char *path = way_path(s, dir);
		g_autofree char *full =
		        path[0] ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
		struct store_probe probe;
		if (store_probe(s->store, full, e->ino, &probe) == 0)
			directory_resolve(d, after, index, probe.size, true, probe.mtime_ns);
	}
	inode_put(s, i);
}

bool kernel_overtaxed(void *user)
{
	return notifier_full(((struct server *)user)->notifier);
}

struct directory *directory_known(void *user, uint64_t ino)
{
	struct server *s = user;
	struct inode *i = inode_find(s->inodes, ino);
	struct directory *d = NULL;
	if (i && S_ISDIR(i->type)) {
		mutex_lock(&i->lock);
		d = i->directory ? directory_ref(i->directory) : NULL;
		mutex_unlock(&i->lock);
	}
	inode_put(s, i);
	return d;
}

char *directory_local_path(void *user, struct directory *d)
{
	struct server *s = user;
	struct inode *i = inode_find(s->inodes, (uintptr_t)directory_owner(d));
	char *path = i ? way_path(s, i) : NULL;
	inode_put(s, i);
	return path;
}

/* For a directory in its original place the parent's listing is the second witness. For others
 * there is none here. */
enum vanished directory_vanished(void *user, struct directory *d)
{
	struct server *s = user;
	struct inode *i = inode_find(s->inodes, (uintptr_t)directory_owner(d));
	struct inode *parent = i && i->local ? inode_parent(s, i, NULL) : NULL;
	g_autofree char *above = parent ? inode_remote(s, parent) : NULL;
	g_autofree char *own = g_path_get_dirname(directory_path(d));
	enum vanished vanished = parent ? VANISHED_ASK : VANISHED_NOT;
	if (above && strcmp(above, strcmp(own, ".") == 0 ? "" : own) == 0) {
		struct directory *up = inode_open_directory(s, parent);
		g_autofree char *name = g_path_get_basename(directory_path(d));
		struct listing *l = directory_listing(up, NULL);
		uint32_t index;
		bool listed =
		        l && listing_find(l, name, &index) && S_ISDIR(listing_at(l, index)->mode);
		vanished = l && !listed ? VANISHED : VANISHED_NOT;
		if (listed)
			directory_expire(up); /* one of the two listings is older */
		listing_unref(l);
	}
	inode_put(s, parent);
	inode_put(s, i);
	return vanished;
}

/* The source has changed a name that is local here. Chunks that follow the source report it when
 * they are read; local changes stay, and the log says so, once per change. */
static void both_changed(struct server *s, struct inode *dir, const char *name)
{
	struct tree_node node;
	struct way w;
	way_to_child(s, dir, name, NULL, &w);
	int err = tree_look(s->store, w.path, &node);
	g_autofree char *path = g_strdup(w.path);
	way_end(s, &w);
	if (err)
		return;
	if (S_ISREG(node.st.st_mode) && (node.kind == TREE_LOCAL || node.mixed)) {
		struct mishap mishap = {
		        .ino = node.st.st_ino,
		        .error = ESTALE,
		        .at_ns = clock_realtime(),
		        .cause = g_strdup("changed at the source, too: the local version stays"),
		};
		g_message("/%s %s", path, mishap.cause);
		mishaps_note(s->mishaps, mishap);
	}
	tree_node_clear(&node);
}

/* Directories that the source lists no more. What is local, or was moved from here, keeps its
 * listing. */
static void unlist(struct server *s, struct directory *d, struct listing *before,
                   struct listing *after)
{
	g_autoptr(GArray) inos = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (uint32_t n = 0; n < listing_count(before); n++) {
		struct listing_entry e;
		uint32_t index;
		directory_entry(d, before, n, &e);
		const char *name = listing_name(before, &e);
		if (!S_ISDIR(e.mode))
			continue;
		bool stays = listing_find(after, name, &index) &&
		             listing_at(after, index)->ino == e.ino &&
		             S_ISDIR(listing_at(after, index)->mode);
		if (!stays && directory_child(d, before, name, &index) == CHILD_REMOTE)
			g_array_append_val(inos, e.ino);
	}
	if (inos->len > 0)
		lister_unlist(s->lister, g_steal_pointer(&inos));
}

void directory_changed(void *user, struct directory *d, struct listing *before,
                       struct listing *after)
{
	struct server *s = user;
	if (!before)
		return;
	struct inode *dir = inode_find(s->inodes, (uintptr_t)directory_owner(d));
	if (!dir)
		return;
	uint64_t id = inode_id(dir);
	bool names_changed = false;
	for (uint32_t n = 0; n < listing_count(after); n++) {
		struct listing_entry e; /* a copy: attributes are resolved meanwhile */
		uint32_t old;
		directory_entry(d, after, n, &e);
		const char *name = listing_name(after, &e);
		bool known = listing_find(before, name, &old);
		uint32_t at;
		if (known && same_entry(listing_at(before, old), &e))
			continue;
		if (known && listing_at(before, old)->ino != e.ino)
			twin_outlived(s, listing_at(before, old)->ino);
		enum child child = directory_child(d, after, name, &at);
		if (child == CHILD_LOCAL)
			both_changed(s, dir, name);
		if (child != CHILD_REMOTE)
			continue; /* local names take precedence */
		if (known)
			entry_changed(s, dir, d, after, n, &e);
		/* Another file of that name: of another kind, or renamed over it */
		bool other = known && (listing_at(before, old)->ino != e.ino ||
		                       ((listing_at(before, old)->mode ^ e.mode) & S_IFMT) != 0);
		if ((!known || other) && s->session) {
			notifier_entry(s->notifier, id, name);
			names_changed = true;
		}
	}
	for (uint32_t n = 0; n < listing_count(before); n++) {
		const char *name = listing_name(before, listing_at(before, n));
		uint32_t index;
		if (!listing_find(after, name, &index))
			twin_outlived(s, listing_at(before, n)->ino);
		if (!listing_find(after, name, &index) && s->session) {
			notifier_entry(s->notifier, id, name);
			names_changed = true;
		}
	}
	/* The kernel's copy of the directory goes before any caller sees the new listing; and once
	 * more after the names, whose notices wait for the directory: a caller may still have been
	 * copying the old listing. */
	if (names_changed) {
		notifier_inode_now(s->notifier, id);
		notifier_inode(s->notifier, id, true);
	}
	unlist(s, d, before, after);
	inode_put(s, dir);
}
