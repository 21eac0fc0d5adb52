/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/round.h"
#include <errno.h>
#include <sys/stat.h>
#include "fuse/inode/inode_table.h"
#include "fuse/inode/pinned.h"
#include "fuse/inode/server.h"
#include "fuse/evict/evict.h"
#include "fuse/evict/pack.h"
#include "fuse/evict/path_lookup.h"
#include "fuse/evict/victims.h"

#define SECOND INT64_C(1000000000)
/* Files chosen at a time; each costs a request. The first choice is small: it shows whether the
 * source answers. */
#define CHOICE 64
#define CHOICE_FIRST 8
/* How long a kept file is skipped. */
#define SPARE_USED (5 * SECOND)
#define SPARE_REFUSED (300 * SECOND)

struct round {
	struct server *server;
	struct victims *victims;
	bool (*wanted)(void *user);
	void *user;
	int64_t measured_ns, took_ns; /* CLOCK_MONOTONIC; 0: not yet */
};

struct chosen {
	struct inode *inode; /* a reference */
	uint64_t number;
	int64_t changed_ns;
};

struct choice {
	struct round *round;
	struct round_result *result;
	GArray *files;       /* of struct chosen */
	GHashTable *parents; /* of struct inode, references; with stale objects to drop */
};

struct round *round_new(struct server *s, bool (*wanted)(void *user), void *user)
{
	struct round *r = g_new0(struct round, 1);
	r->server = s;
	r->victims = victims_new(s);
	r->wanted = wanted;
	r->user = user;
	return r;
}

void round_free(struct round *r)
{
	victims_free(r->victims);
	g_free(r);
}

static bool measure(struct round *r)
{
	int64_t began = clock_now();
	int err = victims_find(r->victims, r->wanted, r->user);
	r->measured_ns = clock_now();
	r->took_ns = r->measured_ns - began;
	if (err && err != -ECANCELED)
		g_warning("cannot measure the store, so nothing is evicted: %s", g_strerror(-err));
	return err == 0;
}

bool round_measure(struct round *r, int64_t least_ns)
{
	if (r->measured_ns && clock_now() - r->measured_ns < MAX(least_ns, 50 * r->took_ns))
		return false;
	return measure(r);
}

/* Open, or a transfer of it is under way. */
static bool is_used(struct inode *i)
{
	mutex_lock(&i->lock);
	bool used = i->handles > 0 || i->opening > 0 || (S_ISREG(i->type) && i->content);
	mutex_unlock(&i->lock);
	return used;
}

static int64_t refused(struct choice *b, const struct leaving *out);

/* A pack: it is no file of the mount. */
static void pack_drop(struct choice *b, struct victim *v)
{
	struct round_result *r = b->result;
	struct leaving out;
	pack_evict(b->round->server, v->path, &out);
	r->asked++;
	r->bytes += out.bytes;
	r->files += out.bytes > 0;
	if (out.error == EPERM)
		r->pinned++;
	if (out.error || out.bytes == 0)
		victims_spare(b->round->victims, v->number, v->changed_ns,
		              clock_now() + (out.error == EPERM ? SPARE_USED : refused(b, &out)));
}

static void choice_add(struct choice *b, struct victim *v)
{
	struct round *r = b->round;
	if (v->path[0] == '/') {
		pack_drop(b, v);
		return;
	}
	struct inode *above;
	int err;
	struct inode *i = path_lookup(r->server, v->path, &above, &err);
	int64_t now = clock_now();
	if (!i && err == ENOENT && above)
		g_hash_table_add(b->parents, inode_ref(r->server->inodes, above));
	if (!i)
		victims_spare(r->victims, v->number, v->changed_ns, now + SPARE_REFUSED);
	if (!i && err != ENOENT) { /* a directory on its path could not be listed */
		b->result->asked++;
		b->result->failed++;
	}
	inode_put(r->server, above);
	/* before the source is asked */
	bool used = i && is_used(i), pinned = i && !used && inode_is_pinned(r->server, i);
	if (used || pinned) {
		victims_spare(r->victims, v->number, v->changed_ns, now + SPARE_USED);
		b->result->in_use += used;
		b->result->pinned += pinned;
		inode_put(r->server, g_steal_pointer(&i));
	}
	if (i) {
		const struct chosen one = {i, v->number, v->changed_ns};
		g_array_append_val(b->files, one);
	}
}

static const struct chosen *chosen_find(const struct choice *b, uint64_t ino)
{
	for (guint n = 0; n < b->files->len; n++) {
		const struct chosen *c = &g_array_index(b->files, struct chosen, n);
		if (c->inode->ino == ino)
			return c;
	}
	return NULL;
}

/* For how long a kept file is skipped, by cause. */
static int64_t refused(struct choice *b, const struct leaving *out)
{
	struct round_result *r = b->result;
	switch (out->error) {
	case EBUSY:
	case ETXTBSY:
	case EAGAIN:
		r->in_use++;
		return SPARE_USED;
	case EPERM:
		r->sealed++;
		return SPARE_USED;
	case 0: /* nothing of it is fetched, or it was dropped as a blank file */
		return SPARE_REFUSED;
	case ESTALE:
	case ENOENT:
	case EISDIR:
		r->unconfirmed++;
		return SPARE_REFUSED;
	case ENOSPC:
	case EDQUOT:
		return 0;
	default:
		r->unconfirmed++;
		r->failed++;
		return SPARE_USED;
	}
}

static bool line(void *user, uint64_t ino, const struct leaving *out)
{
	struct choice *b = user;
	const struct chosen *c = chosen_find(b, ino);
	b->result->asked += c != NULL;
	b->result->bytes += out->bytes;
	if (out->error == 0 && out->bytes > 0)
		b->result->files++;
	else if (c)
		victims_spare(b->round->victims, c->number, c->changed_ns,
		              clock_now() + refused(b, out));
	if (out->error == ENOSPC || out->error == EDQUOT) /* no space to record chunks as absent */
		store_reserve_spend(b->round->server->store);
	return true;
}

static bool wanted(void *user)
{
	const struct choice *b = user;
	return b->round->wanted(b->round->user);
}

static void choice_evict(struct choice *b)
{
	static const struct leaving_ops ops = {.line = line, .wanted = wanted};
	struct server *s = b->round->server;
	GHashTableIter iter;
	gpointer parent;
	g_autoptr(GArray) inos = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	for (guint n = 0; n < b->files->len; n++)
		g_array_append_val(inos, g_array_index(b->files, struct chosen, n).inode->ino);
	g_hash_table_iter_init(&iter, b->parents);
	while (g_hash_table_iter_next(&iter, &parent, NULL))
		g_array_append_val(inos, ((struct inode *)parent)->ino);
	leaving_run(s, (const uint64_t *)(void *)inos->data, inos->len, evict_file, &ops, b);
	for (guint n = 0; n < b->files->len; n++)
		inode_put(s, g_array_index(b->files, struct chosen, n).inode);
	g_hash_table_iter_init(&iter, b->parents);
	while (g_hash_table_iter_next(&iter, &parent, NULL))
		inode_put(s, parent);
}

/* Chooses files of `bytes`, and evicts them. false: no victim is left, or the source is down. */
static bool choice_run(struct round *r, uint64_t bytes, unsigned most, struct round_result *result)
{
	struct choice b = {.round = r, .result = result};
	uint64_t sum = 0;
	unsigned failed = result->failed;
	struct victim v;
	bool any = false;
	b.files = g_array_new(FALSE, FALSE, sizeof(struct chosen));
	b.parents = g_hash_table_new(NULL, NULL);
	while (sum < bytes && b.files->len < most && result->failed - failed < CHOICE_FIRST &&
	       r->wanted(r->user) && victims_next(r->victims, &v)) {
		any = true;
		guint had = b.files->len;
		uint64_t freed = result->bytes;
		choice_add(&b, &v);
		sum += b.files->len > had ? v.bytes : result->bytes - freed;
		g_free(v.path);
	}
	choice_evict(&b);
	g_array_unref(b.files);
	g_hash_table_unref(b.parents);
	result->unreachable = result->failed >= CHOICE_FIRST && result->failed == result->asked;
	return any && !result->unreachable;
}

struct round_result round_run(struct round *r, uint64_t goal)
{
	struct round_result result = {0};
	bool measured = false, ended = false;
	unsigned most = CHOICE_FIRST;
	while (result.bytes < goal && !ended && r->wanted(r->user)) {
		/* One file may fail by itself. If that was all, a few together show more. */
		bool doubt = result.asked > 0 && result.failed == result.asked;
		bool any = choice_run(r, doubt ? UINT64_MAX : goal - result.bytes,
		                      doubt ? CHOICE_FIRST : most, &result);
		most = CHOICE;
		ended = result.unreachable || (!any && (measured || !measure(r)));
		measured |= !any;
	}
	store_reserve(r->server->store);
	return result;
}
