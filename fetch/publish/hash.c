/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/hash.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include "fetch/base/lock.h"
#include "fetch/index/digest.h"
#include "fetch/publish/pack.h"
#include "fetch/publish/reader.h"
#include "fetch/publish/writer.h"

#define PIECE (UINT64_C(4) << 20) /* of a file, for one thread */
#define PIECE_DIGESTS (PIECE / DIGEST_BLOCK)
#define TICK_NS 100000000

/* A piece of a run. */
struct piece {
	const struct spill_directory *directory;
	const struct spill_entry *entry;
	uint64_t offset, length; /* in the file */
	uint64_t digest;         /* number of its first */
	bool last;               /* of the file */
};

struct hashing {
	const struct plan *plan;
	const struct hash_options *options;
	int root, fd; /* borrowed */
	uint64_t digests;
	struct mutex lock;
	struct condition changed;
	/* under lock: */
	struct piece next; /* length 0: `entry` is to be searched from */
	uint32_t run;      /* of next.entry */
	bool ended;        /* all pieces were given out, or it failed */
	unsigned working;
	GError *error; /* owned */
	struct pack_job next_pack;
	bool packed;               /* all packs were given out */
	struct hash_counts counts; /* atomic, each */
	struct packs packs;
};

struct worker {
	struct hashing *hashing;
	struct reader reader;
	uint8_t *buffer; /* owned; NULL: not needed yet */
};

/* ---- what to hash next ---- */

/* Moves to the next file that has data. */
static bool entry_advance(struct hashing *h)
{
	struct piece *n = &h->next;
	for (;;) {
		if (n->directory != NULL)
			n->entry = spill_entry_next(n->directory, n->entry);
		if (n->entry == NULL) {
			n->directory = spill_next(h->plan->spill, n->directory);
			if (n->directory == NULL)
				return false;
			continue;
		}
		if (n->entry->kind == SPILL_NODE && n->entry->runs > 0 &&
		    spill_entry_runs(n->entry)->frame == INDEX_FRAME_NONE)
			return true;
	}
}

static bool run_advance(struct hashing *h)
{
	struct piece *n = &h->next;
	if (n->entry == NULL || ++h->run >= n->entry->runs) {
		if (!entry_advance(h))
			return false;
		h->run = 0;
	}
	const struct spill_run *r = spill_entry_runs(n->entry) + h->run;
	unsigned bits = EROFS_BLOCK_BITS + (n->entry->inode.data & EROFS_CHUNK_BITS);
	n->offset = (uint64_t)r->chunk << bits;
	n->length = r->length;
	n->digest = r->digest;
	return true;
}

static bool piece_take(struct hashing *h, struct piece *out)
{
	mutex_lock(&h->lock);
	if (!h->ended && h->next.length == 0)
		h->ended = !run_advance(h);
	bool taken = !h->ended;
	if (taken) {
		*out = h->next;
		out->length = MIN(out->length, PIECE);
		h->next.offset += out->length;
		h->next.length -= out->length;
		h->next.digest += PIECE_DIGESTS;
		out->last = h->next.length == 0 && h->run + 1 == out->entry->runs;
	}
	mutex_unlock(&h->lock);
	return taken;
}

/* ---- hashing ---- */

static void count(uint64_t *counter, uint64_t more)
{
	__atomic_add_fetch(counter, more, __ATOMIC_RELAXED);
}

static void counts_read(struct hashing *h, struct hash_counts *out)
{
	*out = (struct hash_counts){
	        .bytes = __atomic_load_n(&h->counts.bytes, __ATOMIC_RELAXED),
	        .files = __atomic_load_n(&h->counts.files, __ATOMIC_RELAXED),
	        .kept_bytes = __atomic_load_n(&h->counts.kept_bytes, __ATOMIC_RELAXED),
	        .kept_files = __atomic_load_n(&h->counts.kept_files, __ATOMIC_RELAXED),
	        .odd_files = __atomic_load_n(&h->counts.odd_files, __ATOMIC_RELAXED),
	};
}

static bool digests_write(struct hashing *h, const struct piece *p, const struct digest *digests,
                          GError **error)
{
	uint64_t blocks = (p->length + DIGEST_BLOCK - 1) / DIGEST_BLOCK;
	return writer_put(h->fd, h->digests + p->digest * DIGEST_SIZE, digests,
	                  blocks * DIGEST_SIZE, error);
}

static bool piece_hash(struct worker *w, const struct piece *p, GError **error)
{
	struct hashing *h = w->hashing;
	struct digest out[PIECE_DIGESTS], before[PIECE_DIGESTS];
	g_autofree char *path = reader_path(p->directory, p->entry);
	unsigned blocks = 0;
	bool known = reuse_digests(h->options->reuse, path, &p->entry->inode, p->offset, p->length,
	                           before);
	if (known && !h->options->checksum) {
		count(&h->counts.kept_bytes, p->length);
		count(&h->counts.kept_files, p->last);
		return digests_write(h, p, before, error);
	}
	if (w->buffer == NULL)
		w->buffer = g_malloc(PIECE);
	if (!reader_get(&w->reader, p->directory, p->entry, p->offset, p->length, w->buffer, error))
		return false;
	for (uint64_t at = 0; at < p->length; at += DIGEST_BLOCK)
		digest_of(w->buffer + at, MIN(DIGEST_BLOCK, p->length - at), &out[blocks++]);
	if (known && memcmp(out, before, blocks * DIGEST_SIZE) != 0)
		count(&h->counts.odd_files, 1);
	count(&h->counts.bytes, p->length);
	count(&h->counts.files, p->last);
	return digests_write(h, p, out, error);
}

/* ---- packs ---- */

static bool pack_take(struct hashing *h, struct pack_job *out)
{
	mutex_lock(&h->lock);
	bool taken = !h->ended && !h->packed && pack_next(&h->packs, &h->next_pack);
	h->packed = !taken;
	*out = h->next_pack;
	mutex_unlock(&h->lock);
	return taken;
}

static bool packs_make(struct worker *w, GError **error)
{
	struct hashing *h = w->hashing;
	struct pack_maker *m = NULL;
	struct pack_job job;
	bool ok = true;
	while (ok && pack_take(h, &job)) {
		if (m == NULL)
			m = pack_maker_new(&h->packs);
		ok = pack_make(m, &w->reader, &job, error);
	}
	pack_maker_free(m);
	return ok;
}

static void *worker_main(void *user)
{
	struct hashing *h = user;
	struct worker w = {.hashing = h};
	GError *error = NULL;
	struct piece p;
	reader_open(&w.reader, h->root);
	packs_make(&w, &error);
	while (error == NULL && piece_take(h, &p))
		piece_hash(&w, &p, &error);
	reader_close(&w.reader);
	g_free(w.buffer);
	mutex_lock(&h->lock);
	h->working--;
	h->ended = h->ended || error != NULL;
	if (h->error == NULL)
		h->error = g_steal_pointer(&error);
	condition_broadcast(&h->changed);
	mutex_unlock(&h->lock);
	g_clear_error(&error);
	return NULL;
}

/* Until all workers have ended. */
static void hashing_watch(struct hashing *h)
{
	struct hash_counts so_far;
	bool goes_on = true;
	mutex_lock(&h->lock);
	while (h->working > 0) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TICK_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		condition_wait_until(&h->changed, &h->lock, &until);
		mutex_unlock(&h->lock);
		counts_read(h, &so_far);
		goes_on = goes_on && h->options->tick(h->options->user, &so_far);
		mutex_lock(&h->lock);
		if (!goes_on && h->error == NULL)
			h->error = g_error_new_literal(FETCH_ERROR, FETCH_CANCELLED, "interrupted");
		h->ended = h->ended || !goes_on;
	}
	mutex_unlock(&h->lock);
}

bool hash_tree(const struct plan *p, int root, int fd, const struct index_tail *tail,
               struct objects *objects, const struct hash_options *options,
               struct hash_counts *counts, GError **error)
{
	struct hashing h = {
	        .plan = p, .options = options, .root = root, .fd = fd, .digests = tail->digests};
	unsigned threads = options->threads;
	g_autofree pthread_t *ids = g_new0(pthread_t, threads);
	unsigned started = 0;
	h.packed = objects == NULL;
	h.packs = (struct packs){.plan = p,
	                         .tail = tail,
	                         .fd = fd,
	                         .objects = objects,
	                         .bytes = &h.counts.bytes,
	                         .files = &h.counts.files,
	                         .reuse = options->reuse,
	                         .odd = &h.counts.odd_files};
	mutex_init(&h.lock, RANK_PUBLISH);
	condition_init(&h.changed);
	h.working = threads;
	for (; started < threads; started++)
		if (pthread_create(&ids[started], NULL, worker_main, &h) != 0)
			break;
	mutex_lock(&h.lock);
	h.working -= threads - started;
	if (started == 0)
		h.error = g_error_new_literal(LOCAL_ERROR, EAGAIN, "no thread could be started");
	mutex_unlock(&h.lock);
	hashing_watch(&h);
	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
	condition_destroy(&h.changed);
	mutex_destroy(&h.lock);
	counts_read(&h, counts);
	if (h.error == NULL)
		return true;
	g_propagate_error(error, h.error);
	return false;
}
