/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An inode takes its attributes from its local object. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "fetch/base/nanoseconds.h"
#include "fuse/base/arena.h"
#include "fuse/inode/adoption.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

#define LOOKS 8 /* tries, while the object keeps changing */
#define REFUSED_NS INT64_C(1000000000)

/* Under the inode's lock. Leaves the size out, which each change reports itself. */
static void take_stat_locked(struct inode *i, const struct stat *st) REQUIRES(i->lock)
{
	struct inode_extra *x = i->extra;
	i->mode = i->type | (st->st_mode & 07777);
	i->uid = st->st_uid;
	i->gid = st->st_gid;
	i->mtime_ns = nanoseconds(st->st_mtim);
	x->atime_ns = nanoseconds(st->st_atim);
	if (i->born || x->changed || !x->ctime_ns)
		x->ctime_ns = nanoseconds(st->st_ctim);
	if (x->hidden_ctime_ns && x->ctime_ns == x->hidden_ctime_ns)
		x->ctime_ns = x->shown_ctime_ns;
	x->changed = false;
	x->blocks = st->st_blocks;
}

/* Under the inode's lock. false: the inode has changed since `node` was read. */
static bool take_node_locked(struct inode *i, const struct tree_node *node) REQUIRES(i->lock)
{
	if (i->extra->changed_ns && node->looked_ns <= i->extra->changed_ns)
		return false;
	i->size = node->st.st_size;
	take_stat_locked(i, &node->st);
	return true;
}

/* Only a listed directory knows how many directories it has. */
static void count_directories(struct server *s, struct inode *i)
{
	uint32_t subdirectories;
	mutex_lock(&i->lock);
	struct directory *d = i->directory;
	mutex_unlock(&i->lock);
	if (!d || !directory_subdirectories(d, &subdirectories))
		return;
	i->counted = true;
	i->nlink = 2 + subdirectories;
}

void inode_take(struct server *s, struct inode *i, const struct tree_node *node)
{
	rwlock_wrlock(&s->names);
	struct inode_extra *x = inode_extra_locked(s, i);
	if (node->remote && !x->remote)
		x->remote = arena_strdup(s->arena, node->remote);
	i->born = node->kind == TREE_LOCAL;
	/* what its last name left is found by its number; what it is found by, it still says */
	if (node->indexed && !(i->nameless && x->unlinked))
		i->indexed = true;
	rwlock_unlock(&s->names);
	mutex_lock(&i->lock);
	i->local = true;
	i->mixed |= node->mixed;
	if (i->born)
		i->complete = true;
	i->extra->seals |= node->seals;
	take_node_locked(i, node);
	if (!S_ISDIR(i->type))
		i->nlink = node->st.st_nlink;
	mutex_unlock(&i->lock);
	if (S_ISDIR(i->type))
		count_directories(s, i);
}

void inode_revive(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	bool revived = i->revived;
	i->revived = false;
	mutex_unlock(&i->lock);
	if (!revived || (i->extra && i->extra->twin))
		return;
	struct tree_node node;
	struct way w;
	way_to(s, i, &w); /* until it is taken: a removal of its last name waits */
	int err = tree_look(s->store, w.path, &node);
	if (err == 0) {
		bool unlinked = i->nameless && !i->indexed && !node.indexed;
		if ((node.st.st_mode & S_IFMT) == i->type && node.st.st_ino == i->ino)
			inode_take(s, i, &node);
		if (unlinked && !S_ISDIR(i->type))
			i->nlink -= i->nlink > 0; /* its entry in /unlinked is no name */
		tree_node_clear(&node);
	}
	way_end(s, &w);
}

struct inode *inode_intern_local(struct server *s, struct inode *parent, const char *name,
                                 const struct tree_node *node, bool lookup)
{
	const struct stat *st = &node->st;
	struct listing_entry e = {
	        .ino = st->st_ino,
	        .size = st->st_size,
	        .mtime_ns = nanoseconds(st->st_mtim),
	        .mode = st->st_mode,
	        .uid = st->st_uid,
	        .gid = st->st_gid,
	        .nlink = st->st_nlink,
	        .rdev = (major(st->st_rdev) << 20) | minor(st->st_rdev),
	};
	struct inode *i = inode_intern(s, parent, name, &e, lookup);
	if (i)
		inode_take(s, i, node);
	return i;
}

/* false: the inode was changed meanwhile, and this was not the `last` try. A positive errno in
 * *error. */
static bool refresh_once(struct server *s, struct inode *i, bool last, int *error)
{
	struct tree_node node = {0};
	struct way w;
	way_to(s, i, &w);
	int err = tree_look(s->store, w.path, &node);
	rwlock_rdlock(&s->names);
	/* its entry in /unlinked is no name */
	const struct inode *o = names_owner_locked(i);
	bool unlinked = o->extra && o->extra->unlinked && !o->indexed && !node.indexed;
	*error = err && !o->nameless ? -err : 0;
	rwlock_unlock(&s->names);
	way_end(s, &w);
	if (err)
		return true;
	mutex_lock(&i->lock);
	bool taken = take_node_locked(i, &node);
	if (!taken && last)
		take_stat_locked(i, &node.st);
	if (!S_ISDIR(i->type))
		i->nlink = node.st.st_nlink - unlinked;
	mutex_unlock(&i->lock);
	tree_node_clear(&node);
	return taken || last;
}

int inode_refresh(struct server *s, struct inode *i)
{
	int err = 0;
	mutex_lock(&i->lock);
	bool local = i->local;
	mutex_unlock(&i->lock);
	if (!local)
		return 0;
	for (int n = 1; !refresh_once(s, i, n == LOOKS, &err); n++)
		;
	if (err == 0 && S_ISDIR(i->type) && !i->nameless)
		count_directories(s, i);
	return err;
}

/* A file with several remote names, one of which was changed. 0: it is local; ENOENT: it is not;
 * another positive errno. */
static int take_linked(struct server *s, struct inode *i)
{
	struct tree_node node;
	g_autofree char *path =
	        g_strdup_printf("/links/%02x/%016" PRIx64, (unsigned)(i->ino & 0xff), i->ino);
	int err = -tree_look(s->store, path, &node);
	if (err)
		return err == ESTALE ? ENOENT : err;
	if (node.st.st_nlink == 0) { /* its last name was removed, then the daemon ended */
		tree_index_drop(s->store, i->ino);
		tree_node_clear(&node);
		return ENOENT;
	}
	i->indexed = true;
	inode_take(s, i, &node);
	tree_node_clear(&node);
	return 0;
}

/* An open was refused because the store has another size of the file than its listing. The kernel
 * looks the name up once more, and passes a second refusal on. If the source keeps replacing the
 * file of that name, the look-up may find yet another one: it takes the size in the store, too. */
static void take_held(struct server *s, struct inode *i)
{
	int64_t refused = __atomic_load_n(&s->refused_ns, __ATOMIC_RELAXED);
	struct store_probe probe;
	if (!refused || clock_now() - refused > REFUSED_NS || !S_ISREG(i->type))
		return;
	g_autofree char *path = way_path(s, i);
	if (store_probe(s->store, path, i->ino, &probe) != 0)
		return;
	mutex_lock(&i->lock);
	bool differs = !i->local && i->handles == 0 && i->size != probe.size;
	if (differs) {
		i->size = probe.size;
		i->resend_size = INODE_RESEND_SIZE;
		i->keep_cache = false;
	}
	mutex_unlock(&i->lock);
	if (differs)
		inode_list_held(s, i);
}

struct inode *inode_listed_as(struct server *s, struct inode *dir, const char *name,
                              const struct listing_entry *entry, bool lookup, int *err)
{
	struct inode *i = inode_intern(s, dir, name, entry, lookup);
	*err = i ? 0 : ENOMEM;
	if (!i)
		return NULL;
	if (i->local) {
		inode_refresh(s, i);
		return i;
	}
	int linked = S_ISREG(entry->mode) && entry->nlink > 1 ? take_linked(s, i) : ENOENT;
	if (linked == ENOENT && inode_adopt(s, i, entry) == ADOPT_NEVER)
		inode_list_held(s, i);
	if (linked == ENOENT)
		take_held(s, i);
	if (linked == 0 || linked == ENOENT)
		return i;
	if (lookup)
		inode_forget(s, inode_id(i), 1);
	inode_put(s, i);
	*err = linked;
	return NULL;
}
