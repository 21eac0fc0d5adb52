/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/takeover.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "fetch/base/error.h"
#include "fetch/store/tree/tree.h"
#include "fuse/base/arena.h"
#include "fuse/inode/access.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_table_private.h"
#include "fuse/inode/journal_private.h"
#include "fuse/inode/names.h"
#include "fuse/inode/notices.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/server.h"
#include "fuse/inode/strikes.h"
#include "fuse/inode/unlinked.h"

static bool damaged(GError **error, const char *what, uint32_t index)
{
	g_set_error(error, LOCAL_ERROR, EUCLEAN, "the state of the mount is damaged: %s %u", what,
	            index);
	return false;
}

/* A live inode, by a pointer from the area. */
static bool is_inode(const struct inode_table *t, const struct inode *i)
{
	size_t at = (size_t)((const char *)i - (const char *)t->slots);
	return (const char *)i >= (const char *)t->slots && at % sizeof(*i) == 0 &&
	       at / sizeof(*i) < t->area->inodes && i->alive && i->index == at / sizeof(*i);
}

/* What the worker before had of it, and nobody has now. */
static bool inode_reset(struct server *s, struct inode *i)
{
	mutex_init(&i->lock, RANK_INODE);
	i->refs = 0;
	i->handles = 0;
	i->opening = 0;
	i->claimed = UNCLAIMED;
	i->content = NULL; /* or the directory */
	i->unlisted = S_ISDIR(i->type);
	if (S_ISDIR(i->type))
		i->walk = (struct walkahead){0};
	else
		i->backing_link = NULL;
	i->behind = i->revived = true;
	i->overcounted = i->nlookup > 0;
	if (!names_restore(s, i))
		return false;
	struct inode_extra *x = i->extra;
	if (!x)
		return true;
	x->twins = NULL;
	x->is_twin = false;
	x->handles = (struct write_handles){0};
	x->capability_went = 0;
	x->changed = true;
	x->changed_ns = 0;
	return true;
}

/* Second pass: all inodes are reset. */
static bool has_parents(const struct inode_table *t, const struct inode *i)
{
	const struct inode_extra *x = i->extra;
	if (i->parent ? !is_inode(t, i->parent) : i->index != 0)
		return false;
	for (const struct alias *a = x ? x->first : NULL; a; a = a->next)
		if (!is_inode(t, a->parent))
			return false;
	return !x || !x->twin || (is_inode(t, x->twin) && x->twin->extra);
}

/* Third pass: names are as in the store. */
static void inode_link(struct server *s, struct inode *i)
{
	struct inode_table *t = s->inodes;
	if (i->parent)
		i->parent->refs++;
	if (i->hashed)
		i->hashed = g_hash_table_add(t->by_ino, i);
	if (i->outlived)
		g_hash_table_add(t->outlived, i);
	struct inode_extra *x = i->extra;
	for (struct alias *a = x ? x->first : NULL; a; a = a->next)
		a->parent->refs++;
	struct inode *twin = x ? x->twin : NULL;
	if (!twin)
		return;
	x->has_twin = true;
	twin->refs++;
	twin->extra->is_twin = true;
	if (!twin->extra->twins)
		twin->extra->twins = g_ptr_array_new();
	g_ptr_array_add(twin->extra->twins, i);
}

/* A removal that did not come to its end had unhashed it. A second inode of one file would follow.
 */
static void rehash(struct inode_table *t, struct inode *i)
{
	bool named = !i->nameless && !(i->extra && i->extra->twin);
	if (!i->hashed && named && !g_hash_table_contains(t->by_ino, i))
		i->hashed = g_hash_table_add(t->by_ino, i);
}

/* No inode is its own parent, nor its own twin, over others. `refs` is not counted yet: it has the
 * number of the look that came past. */
static bool is_chain(const struct inode_table *t, struct inode *i, uint32_t look)
{
	uint64_t twins = 0;
	for (const struct inode *n = i; n->extra && n->extra->twin; n = n->extra->twin)
		if (twins++ > t->count)
			return false;
	for (; i && i->refs == 0; i = i->parent)
		i->refs = look;
	return !i || i->refs != look;
}

static bool inodes_restore(struct server *s, GError **error)
{
	struct inode_table *t = s->inodes;
	uint32_t used = t->area->inodes;
	if (used > area_region_size(s->area, AREA_INODES) / sizeof(struct inode))
		return damaged(error, "inodes", used);
	area_populate(s->area, AREA_INODES, used * sizeof(struct inode));
	for (uint32_t n = 0; n < used; n++) {
		struct inode *i = &t->slots[n];
		if (!i->alive)
			continue;
		if (i->index != n || !inode_reset(s, i))
			return damaged(error, "inode", n);
		t->count++;
	}
	for (uint32_t n = 0; n < used; n++)
		if (t->slots[n].alive && !has_parents(t, &t->slots[n]))
			return damaged(error, "the names of inode", n);
	for (uint32_t n = 0; n < used; n++)
		if (t->slots[n].alive && !is_chain(t, &t->slots[n], n + 1))
			return damaged(error, "the parents of inode", n);
	if (!notices_restore(s->area, s->arena))
		return damaged(error, "notices", 0);
	arena_sweep(s->arena); /* before anything is allocated there */
	journal_recover(s);
	for (uint32_t n = 0; n < used; n++)
		t->slots[n].refs = 0;
	for (uint32_t n = 0; n < used; n++)
		if (t->slots[n].alive)
			inode_link(s, &t->slots[n]);
	for (uint32_t n = 0; n < used; n++)
		if (t->slots[n].alive)
			rehash(t, &t->slots[n]);
	return true;
}

static bool handle_restore(struct server *s, struct handle *h)
{
	struct inode *i = h->inode;
	if (!is_inode(s->inodes, i) || !S_ISREG(i->type))
		return false;
	h->version = h->content && i->version ? i->version : h->version;
	i->refs++;
	i->handles++;
	i->iomode = h->iomode;
	access_open(s, i, h->flags); /* admitted before */
	if (h->visited && !store_visit(s->store, h->visited))
		h->visited = 0;
	return true;
}

static bool handles_restore(struct server *s, GError **error)
{
	struct handle *slots = area_region(s->area, AREA_HANDLES);
	uint32_t used = s->area->handles;
	if (used > area_region_size(s->area, AREA_HANDLES) / sizeof(struct handle))
		return damaged(error, "handles", used);
	for (uint32_t n = 0; n < used; n++) {
		struct handle *h = &slots[n];
		mutex_init(&h->lock, RANK_HANDLE);
		h->index = n;
		if (h->inode && !handle_restore(s, h))
			return damaged(error, "open file", n);
		h->content = NULL;
		h->fd = -1;
		h->uses = 0;
		h->ra = (struct readahead){0};
		h->held = (GList){0};
		handle_slot_restored(s->handles, h);
	}
	return true;
}

/* Slots without use: also of inodes that only the worker before had. */
static void free_collect(struct server *s)
{
	struct inode_table *t = s->inodes;
	for (uint32_t n = t->area->inodes; n-- > 1;) {
		struct inode *i = &t->slots[n];
		/* the id in the kernel cannot be closed yet: it goes with the inode, later */
		bool backed = S_ISREG(i->type) && i->backing_id > 0;
		if (i->alive && i->refs == 0 && i->nlookup == 0 && !backed)
			inode_put(s, inode_ref(t, i));
	}
	for (uint32_t n = t->area->inodes; n-- > 0;) {
		struct inode *i = &t->slots[n];
		if (i->alive && S_ISREG(i->type) && i->handles == 0) {
			i->iomode = IOMODE_NONE;
			/* it may have been evicted, or be about to be: the next open looks */
			i->complete = i->born || i->size == 0;
		}
		if (!i->alive && !(S_ISREG(i->type) && i->backing_id > 0)) /* takeover_backing() */
			slots_give(t->free, n);
	}
}

static void journal_number_add(void *user, struct journal_entry *e)
{
	if (e->number)
		g_hash_table_add(user, &e->number);
}

/* Files without names that no inode has: the worker before was about to remove them, or had not
 * given them to an inode. Whatever a change of names may still be about stays: the look at it may
 * have failed. Before any other is made. */
static void orphans_remove(struct server *s)
{
	struct inode_table *t = s->inodes;
	if (s->read_only)
		return;
	g_autoptr(GArray) numbers = tree_orphans(s->store);
	if (numbers->len == 0)
		return;
	g_autoptr(GHashTable) used = g_hash_table_new(g_int64_hash, g_int64_equal);
	for (uint32_t n = 0; (n = slots_next(t->free, n)) < t->area->inodes; n++)
		if (t->slots[n].alive && t->slots[n].extra && t->slots[n].extra->unlinked)
			g_hash_table_add(used, &t->slots[n].extra->unlinked);
	journal_each(s->area, journal_number_add, used);
	GArray *unused = g_array_new(FALSE, FALSE, sizeof(struct unlinked));
	for (guint n = 0; n < numbers->len; n++) {
		struct unlinked one = {.number = g_array_index(numbers, uint64_t, n)};
		if (!g_hash_table_contains(used, &one.number))
			g_array_append_val(unused, one);
	}
	unlinked_remove(s, unused);
}

bool takeover_begin(struct server *s, GError **error)
{
	if (!area_check(s->area))
		return damaged(error, "its header, version", s->area->version);
	strikes_count(s->area);
	if (!inodes_restore(s, error))
		return false;
	if (!handles_restore(s, error))
		return false;
	free_collect(s);
	orphans_remove(s);
	return true;
}

void takeover_backing(struct server *s)
{
	struct inode_table *t = s->inodes;
	g_autoptr(GHashTable) held = g_hash_table_new(NULL, NULL);
	mutex_lock(&t->lock); /* the evictor runs already */
	for (uint32_t n = 0; (n = slots_next(t->free, n)) < t->area->inodes; n++) {
		struct inode *i = &t->slots[n];
		if (!S_ISREG(i->type))
			continue;
		backing_restore(s->backing, i);
		if (!i->alive)
			slots_give(t->free, n);
		if (i->backing_id > 0)
			g_hash_table_add(held, GINT_TO_POINTER(i->backing_id));
	}
	mutex_unlock(&t->lock);
	backing_recover(s->backing, held);
}

static char *ended_how(int status)
{
	if (status == -1)
		return g_strdup("was killed");
	if (WIFSIGNALED(status))
		return g_strdup_printf("was ended by signal %d (%s)", WTERMSIG(status),
		                       strsignal(WTERMSIG(status)));
	return g_strdup_printf("ended with status %d", WEXITSTATUS(status));
}

void takeover_tell(struct server *s, bool asked)
{
	if (asked) {
		g_message("upgraded to version " LACUNAFS_VERSION ": worker %u took "
		          "over %" G_GUINT64_FORMAT " inodes after %.1f ms",
		          s->area->workers, (guint64)inode_count(s->inodes),
		          (double)(clock_now() - s->area->ended_ns) / 1e6);
		return;
	}
	g_autofree char *how = ended_how(s->area->status);
	g_warning("the worker %s: worker %u took over %" G_GUINT64_FORMAT " inodes after %.1f ms",
	          how, s->area->workers, (guint64)inode_count(s->inodes),
	          (double)(clock_now() - s->area->ended_ns) / 1e6);
}
