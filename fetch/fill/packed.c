/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Files in packs (source.h). A pack is a content of its own, with a local file of its own, which
 * is fetched, verified and published as any; it has no owner. A file that is in one needs no local
 * file to be read: its content refers to the pack's. Once it has a local file (it is about to be
 * changed, or a handler supplies its data), that one is its only data, and the pack a source.
 *
 * Cost: 17,500 small files make 20 local files, not 17,500 with a record each. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fetch/fill/fill_private.h"
#include "fetch/store/disk/lru.h"

/* Packs that stay open, so that a walk does not open one for each of its files */
#define RECENT_MAX 8
/* Fetched at a time: the least, and the most for a reader that goes on where the last fetch ended
 */
#define WINDOW_MIN (UINT64_C(1) << 20)
#define WINDOW_MAX (UINT64_C(8) << 20)
/* A pack whose first bytes are read after the end of another one continues it. */
#define CONTINUES (UINT64_C(512) << 10)

/* ---- packs ---- */

char *fill_pack_path(const struct source_packed *p)
{
	return g_strconcat("/packs", strrchr(p->path, '/'), NULL);
}

/* A reference to the pack's content. */
static struct content *pack_get(struct fill *f, const struct source_packed *p)
{
	g_autofree char *path = fill_pack_path(p);
	const struct store_origin origin = {
	        .size = p->size,
	        .mode = 0600,
	        .uid = geteuid(),
	        .gid = getegid(),
	        .nlink = 1,
	        .version = p->version,
	};
	struct content *c;

	fill_lock(f);
	c = g_hash_table_lookup(f->packs, path);
	if (c == NULL || !content_try_ref(c)) {
		c = content_new(f, path, p->path, &origin, NULL);
		g_hash_table_replace(f->packs, c->path, c);
	}
	fill_unlock(f);
	return c;
}

void packed_released(struct content *c)
{
	struct fill *f = c->fill;

	fill_lock(f);
	if (g_hash_table_lookup(f->packs, c->path) == c)
		g_hash_table_remove(f->packs, c->path);
	fill_unlock(f);
}

/* Keeps a reference for a while. */
static void pack_keep(struct content *c)
{
	struct fill *f = c->fill;
	struct content *last = NULL;

	fill_lock(f);
	if (!f->stopped && g_queue_find(&f->recent, c) == NULL) {
		g_queue_push_tail(&f->recent, content_ref(c));
		if (f->recent.length > RECENT_MAX)
			last = g_queue_pop_head(&f->recent);
	}
	fill_unlock(f);
	if (last)
		content_unref(last);
}

void packed_forget(struct fill *f)
{
	struct content *c;

	do {
		fill_lock(f);
		c = g_queue_pop_head(&f->recent);
		fill_unlock(f);
		if (c)
			content_unref(c);
	} while (c);
}

/* ---- files ---- */

void packed_look(struct content *c)
{
	struct fill *f = c->fill;
	struct source_packed p;
	bool packed;

	if (c->owner == NULL || c->pack || c->remote[0] == '\0' || c->origin.size == 0)
		return;
	fill_lock(f);
	packed = !f->stopped;
	f->submitting += packed;
	fill_unlock(f);
	if (!packed)
		return;
	packed = source_packed(f->source, c->remote, c->origin.size, &p);
	fill_submitted(f);
	if (!packed || p.offset > p.size || c->origin.size > p.size - p.offset)
		return;
	c->pack_offset = p.offset;
	c->pack_version = p.file;
	__atomic_store_n(&c->pack, pack_get(f, &p), __ATOMIC_RELEASE);
}

/* Opens its local file, for a first read: until then it can be evicted. false: it is of no use. */
static bool pack_open(struct content *pack)
{
	if (content_file(pack))
		return true;
	if (content_open(pack) != 0 || content_size(pack) != pack->origin.size)
		return false;
	pack_keep(pack);
	if (content_number(pack))
		store_lru_touch(pack->fill->store, content_number(pack));
	return true;
}

source_version content_read_version(struct content *c)
{
	return content_packed(c) ? c->pack_version : content_version(c);
}

bool content_packed(struct content *c)
{
	return content_pack(c) != NULL;
}

int content_read_fd(struct content *c, uint64_t offset, uint64_t length, uint64_t *base)
{
	struct content *pack = content_pack(c);

	*base = pack ? c->pack_offset : 0;
	if (pack == NULL && c->pack && !content_present(c, offset, length))
		return -EAGAIN;
	return content_fd(pack ? pack : c);
}

/* How much is fetched after a miss at `offset`. */
static uint64_t ahead_of(struct content *pack, uint64_t offset)
{
	struct fill *f = pack->fill;
	uint64_t size = content_size(pack), window;

	fill_lock(f);
	bool same = f->walk.path && strcmp(f->walk.path, pack->path) == 0;
	bool goes_on = same ? offset >= f->walk.next && offset - f->walk.next < CONTINUES
	                    : f->walk.ended && offset < CONTINUES;
	window = goes_on ? MIN(2 * f->walk.window, WINDOW_MAX) : WINDOW_MIN;
	f->walk.window = window;
	f->walk.next = MIN(offset + window, size);
	f->walk.ended = f->walk.next == size;
	if (!same) {
		g_free(f->walk.path);
		f->walk.path = g_strdup(pack->path);
	}
	fill_unlock(f);
	return window;
}

bool packed_want(struct content *c, struct fill_wait *w, struct content **pack, uint64_t *ahead)
{
	const struct fill_options *o = &c->fill->options;
	struct content *from = content_pack(c);
	uint64_t size = c->origin.size;

	if (from == NULL || w->offset >= size || !pack_open(from))
		return false;
	w->length = MIN(w->length, size - w->offset);
	bool present = content_present(c, w->offset, w->length);
	if (!present && o->asked && o->asked(o->user, c))
		return false;
	w->offset += c->pack_offset;
	*ahead = present ? 0 : ahead_of(from, w->offset);
	*pack = from;
	return true;
}

/* ---- eviction ---- */

/* The references that nobody uses. false: another thread evicts it. */
static bool evict_enter(struct fill *f, const char *path)
{
	struct content *kept = NULL;

	fill_lock(f);
	bool mine = !g_hash_table_contains(f->evicting, path);
	if (mine) /* only then: the set would keep the later pointer of equal ones */
		g_hash_table_add(f->evicting, (char *)path);
	for (GList *l = f->recent.head; mine && l && !kept; l = l->next)
		if (strcmp(((struct content *)l->data)->path, path) == 0) {
			kept = l->data;
			g_queue_delete_link(&f->recent, l);
			break;
		}
	fill_unlock(f);
	if (kept)
		content_unref(kept);
	return mine;
}

static void evict_leave(struct fill *f, const char *path)
{
	fill_lock(f);
	g_hash_table_remove(f->evicting, path);
	fill_unlock(f);
}

int fill_evict_pack(struct fill *f, const char *path, uint64_t *freed)
{
	struct store_file *file;

	*freed = 0;
	if (!evict_enter(f, path))
		return 0;
	int err = store_file_open(f->store, path, 0, &file);
	if (err == 0) {
		err = store_file_evict(file, freed);
		if (err)
			store_file_close(file);
		else
			store_file_discard(f->store, path, file);
	}
	evict_leave(f, path);
	return err == -ENOENT ? 0 : err;
}

/* ---- the pack as the source of a local file ---- */

static void copy_run(struct pool_job *job)
{
	struct transfer *t = (struct transfer *)((char *)job - offsetof(struct transfer, job));
	struct content *c = t->content;
	struct source_read *r = &t->read;
	g_autofree char *data = g_malloc(t->length);
	g_autoptr(GError) error = NULL;
	ssize_t n;

	do
		n = pread(content_fd(c->pack), data, t->length, c->pack_offset + t->offset);
	while (n < 0 && errno == EINTR);
	int err = n < 0 ? -errno : n != (ssize_t)t->length ? -EIO : 0;
	r->version = c->pack_version;
	if (err == 0)
		err = r->begin(r);
	if (err == 0)
		err = r->data(r, r->offset, data, r->length);
	if (err)
		g_set_error(&error, LOCAL_ERROR, -err, "%s: %s", c->pack->path, g_strerror(-err));
	r->base.done(&r->base, error);
}

bool packed_submit(struct transfer *t)
{
	struct content *pack = __atomic_load_n(&t->content->pack, __ATOMIC_ACQUIRE);
	const struct source_read *r = &t->read;

	if (pack == NULL || !pack_open(pack) ||
	    (r->pinned != 0 && r->pinned != t->content->pack_version) ||
	    !content_present(pack, t->content->pack_offset + t->offset, t->length))
		return false;
	t->job.run = copy_run;
	pool_submit(t->content->fill->disk, &t->job);
	return true;
}
