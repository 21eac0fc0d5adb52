/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One read of the source, from its headers to its end. Bytes are hashed and written as they arrive,
 * and never collected. */
#include <errno.h>
#include <unistd.h>
#include "fetch/fill/fill_private.h"
#include "fetch/store/disk/space.h"

/* A shorter rest is received although nothing needs it: that is cheaper than a new connection */
#define DRAIN_BYTES (UINT64_C(1) << 20)

static int transfer_begin(struct source_read *r);
static int transfer_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length);
static void transfer_done(struct source_request *r, const GError *error);
static int transfer_lend(struct source_read *r, uint64_t offset, uint64_t length);
static void transfer_give_back(struct source_read *r);

struct transfer *transfer_new_locked(struct content *c, enum transfer_kind kind, uint64_t chunk)
{
	struct transfer *t = g_new0(struct transfer, 1);

	t->content = content_ref(c);
	t->kind = kind;
	t->first = t->last = t->cursor = chunk;
	t->ahead_from = UINT64_MAX;
	t->since_ns = clock_now();
	t->link.data = t->all.data = t;
	c->transfers = g_list_concat(&t->link, c->transfers);
	g_queue_push_tail_link(&c->fill->transfers, &t->all);
	if (kind == TRANSFER_FETCH && c->fill->fetches++ == 0)
		rate_start(&c->fill->rate, t->since_ns);
	return t;
}

void transfer_prepare_locked(struct transfer *t)
{
	struct content *c = t->content;
	struct source_read *r = &t->read;

	t->offset = t->first << content_shift(c);
	t->length = content_chunk_end(c, t->last) - t->offset;
	t->job.run = verify_run;
	r->base.path = c->remote;
	r->base.done = transfer_done;
	r->offset = t->offset;
	r->length = t->length;
	r->size = content_size(c);
	r->mtime_ns = c->origin.mtime_ns;
	r->grain = UINT64_C(1) << content_shift(c);
	r->pinned = c->file ? store_file_version(c->file) : c->origin.version;
	r->lend = transfer_lend;
	r->give_back = transfer_give_back;
	r->begin = transfer_begin;
	r->data = transfer_data;
}

/* Under the content's claim: the local file, made if this is the first answer. -errno. */
static int transfer_file(struct transfer *t, struct store_file **out)
{
	struct content *c = t->content;
	struct store_origin origin = c->origin;
	source_version pinned = c->file ? store_file_version(c->file) : c->origin.version;
	struct store_file *file = c->file;
	int err;

	if (c->remote[0] == '\0') /* the file has no remote path: the data is another file's */
		return -ESTALE;
	if (pinned != 0 && t->read.version != pinned) {
		t->changed = true;
		return -ESTALE;
	}
	if (file && pinned == 0) {
		err = store_file_pin(file, t->read.version);
		if (err)
			return err;
	}
	if (file == NULL) {
		origin.version = t->read.version;
		g_autofree char *path = content_local_path(c);

		err = store_file_create(c->fill->store, path, &origin, &file);
		if (err)
			return err;
		/* kept meanwhile, without a version yet */
		if (store_file_version(file) == 0 && store_file_chunks_present(file) == 0 &&
		    store_file_size(file) == origin.size)
			err = store_file_pin(file, origin.version);
		if (err) {
			store_file_close(file);
			return err;
		}
		/* A file with data or another version appeared meanwhile: it is not written to. */
		if (store_file_chunks_present(file) > 0 || store_file_size(file) != origin.size ||
		    store_file_version(file) != origin.version ||
		    store_file_chunk_shift(file) != content_shift(c)) {
			store_file_close(file);
			return -ESTALE;
		}
	}
	*out = file;
	return 0;
}

static int transfer_begin(struct source_read *r)
{
	struct transfer *t = (struct transfer *)r;
	struct content *c = t->content;
	struct store_file *file = NULL;
	int err;

	content_claim(c);
	err = transfer_file(t, &file);
	fill_lock(c->fill);
	if (err == 0 && c->file == NULL) {
		c->origin.version = r->version;
		__atomic_store_n(&c->file, file, __ATOMIC_RELEASE);
	}
	if (err == 0) {
		bool wider = r->offset != t->offset || r->length != t->length;

		if (wider && !r->supplied && transfer_give_locked(t))
			err = -ECANCELED;
		else if (wider)
			transfer_widen_locked(t, r->offset, r->length);
		if (t->first > t->last) /* other transfers delivered it meanwhile */
			err = -ECANCELED;
	}
	if (err == 0) {
		t->offset = r->offset;
		t->length = r->length;
		t->began_ns = clock_now();
		t->cursor = r->offset >> content_shift(c);
		if (t->held == NULL)
			transfers_ask_anew_locked(c);
	}
	fill_unlock(c->fill);
	content_yield(c);
	t->at = r->offset;
	t->end = r->offset + r->length;
	if (err == 0 && (t->hash = XXH3_createState()) == NULL)
		err = -ENOMEM;
	t->local_error = -err;
	return err;
}

/* A source writes its bytes before they are hashed, so only into chunks that `t` holds. */
static int transfer_lend(struct source_read *r, uint64_t offset, uint64_t length)
{
	struct transfer *t = (struct transfer *)r;
	struct content *c = t->content;
	unsigned shift = content_shift(c);
	bool held = length > 0;

	fill_lock(c->fill);
	for (uint64_t k = offset >> shift; held && k <= (offset + length - 1) >> shift; k++)
		held = transfer_holds_locked(t, k);
	fill_unlock(c->fill);
	return held ? store_file_lend(c->file, offset, length) : -1;
}

static void transfer_give_back(struct source_read *r)
{
	store_file_give_back(((struct transfer *)r)->content->file);
}

/* A server that ignores ranges sends the whole file. Once the file has no waiter and no user left,
 * only as much more is stored as readahead may fetch. Brought data is stored to its end: its
 * handler relies on that. */
static bool transfer_is_unwanted_locked(struct transfer *t, uint64_t chunk) REQUIRES(fill_locked)
{
	struct content *c = t->content;
	unsigned refs = __atomic_load_n(&c->refs, __ATOMIC_RELAXED);

	if (t->held == NULL || t->read.supplied || c->waiters || refs > g_list_length(c->transfers))
		t->unwanted = 0;
	else
		t->unwanted += content_chunk_end(c, chunk) - t->at;
	return t->unwanted > c->fill->options.prefetch_bytes;
}

/* Space for the rest of the chunk that is being stored. */
static int transfer_take_space(struct transfer *t, uint64_t bytes)
{
	int err = store_space_take(t->content->fill->store, bytes);

	if (err == 0)
		t->taken = bytes;
	return err;
}

/* At the first byte of `chunk`. -ECANCELED: the rest is not needed. */
static int transfer_enter(struct transfer *t, uint64_t chunk)
{
	struct fill *f = t->content->fill;
	bool ended;

	fill_lock(f);
	if (transfer_is_unwanted_locked(t, chunk))
		transfer_release_all_locked(t);
	else if (t->held != NULL)
		transfer_take_back_locked(t, chunk);
	t->taking = transfer_holds_locked(t, chunk);
	t->cursor = chunk + 1;
	ended = t->ended =
	        t->first > t->last && t->end - t->at >= DRAIN_BYTES && !transfer_lent_locked(t);
	fill_unlock(f);
	if (t->taking)
		XXH3_64bits_reset(t->hash);
	if (ended || !t->taking)
		return ended ? -ECANCELED : 0;
	return transfer_take_space(t, content_chunk_end(t->content, chunk) - t->at);
}

/* Reads back the data that the source wrote itself: a chunk is published with its hash. */
static int transfer_hash_file(struct transfer *t, uint64_t offset, size_t length)
{
	int fd = store_file_fd(t->content->file);
	uint8_t piece[32768];

	while (length > 0) {
		ssize_t n = pread(fd, piece, MIN(length, sizeof piece), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		XXH3_64bits_update(t->hash, piece, n);
		offset += n;
		length -= n;
	}
	return 0;
}

/* Bytes of one chunk. */
static int transfer_take(struct transfer *t, uint64_t chunk, const void *buffer, size_t length)
{
	struct content *c = t->content;
	struct store_file *file = c->file;
	int err;

	if (buffer) {
		err = store_file_write(file, t->at, buffer, length);
		if (err == 0)
			XXH3_64bits_update(t->hash, buffer, length);
	} else {
		err = transfer_hash_file(t, t->at, length);
	}
	if (err)
		return err;
	if (t->at + length < content_chunk_end(c, chunk))
		return 0;
	err = store_file_publish_version(file, chunk, XXH3_64bits_digest(t->hash), t->read.version);
	if (err == 0) {
		t->taken = 0;
		__atomic_add_fetch(&c->fill->chunks_fetched, 1, __ATOMIC_RELAXED);
		transfer_arrived(t, chunk);
	}
	return err;
}

static int transfer_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct transfer *t = (struct transfer *)r;
	struct content *c = t->content;
	unsigned shift = content_shift(c);
	const uint8_t *p = buffer;

	if (offset != t->at || length > t->end - t->at) {
		t->local_error = EIO; /* the source broke its contract */
		return -EIO;
	}
	__atomic_add_fetch(&c->fill->bytes_fetched, length, __ATOMIC_RELAXED);
	__atomic_add_fetch(&t->arrived, length, __ATOMIC_RELAXED);
	while (length > 0) {
		uint64_t chunk = t->at >> shift;
		size_t n = MIN(length, content_chunk_end(c, chunk) - t->at);
		int err = 0;

		if (t->at == chunk << shift)
			err = transfer_enter(t, chunk);
		if (err == 0 && t->taking)
			err = transfer_take(t, chunk, p, n);
		if (err) {
			t->local_error = -err;
			return err;
		}
		t->at += n;
		length -= n;
		if (p)
			p += n;
	}
	return 0;
}

void transfer_arrived(struct transfer *t, uint64_t chunk)
{
	struct content *c = t->content;
	GList *ready = NULL;

	fill_lock(c->fill);
	if (t->kind == TRANSFER_FETCH)
		rate_add(&c->fill->rate, UINT64_C(1) << content_shift(c), clock_now());
	transfer_release_locked(t, chunk);
	waiters_wake_locked(c, chunk, &ready);
	fill_unlock(c->fill);
	/* before the answers: an answered caller may ask at once */
	content_check_complete(c);
	waiters_answer(ready);
}

static GError *transfer_cause(const struct transfer *t, const GError *error, const char *name)
{
	if (t->changed)
		return g_error_new(FETCH_ERROR, FETCH_CHANGED,
		                   "%s: the source has another version than the cached one", name);
	if (t->local_error)
		return g_error_new(LOCAL_ERROR, t->local_error, "%s: storing it: %s", name,
		                   g_strerror(t->local_error));
	if (error)
		return g_error_copy(error);
	return g_error_new(FETCH_ERROR, FETCH_PROTOCOL, "%s: the answer ended early", name);
}

static void transfer_free(struct transfer *t) UNSHARED
{
	content_unref(t->content);
	XXH3_freeState(t->hash);
	g_free(t->held);
	g_free(t);
}

static void transfer_tell(struct transfer *t, const GError *cause, bool waited)
{
	struct content *c = t->content;
	const struct fill_options *o = &c->fill->options;

	waited &= !g_error_matches(cause, FETCH_ERROR, FETCH_CANCELLED) &&
	          !g_error_matches(cause, LOCAL_ERROR, ENOSPC) && /* it is evicted for, and told */
	          !g_error_matches(cause, LOCAL_ERROR, EDQUOT);
	g_log(G_LOG_DOMAIN, waited ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_DEBUG,
	      "%s (bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " of /%s)", cause->message,
	      t->offset, t->offset + t->length - 1, c->path);
	__atomic_add_fetch(&c->fill->errors, 1, __ATOMIC_RELAXED);
	content_failed(c, fetch_error_errno(cause, false), cause->message);
	if (c->owner == NULL) /* a pack */
		return;
	if (o->changed && g_error_matches(cause, FETCH_ERROR, FETCH_CHANGED))
		o->changed(o->user, c);
	if (o->directory && g_error_matches(cause, FETCH_ERROR, FETCH_DIRECTORY))
		o->directory(o->user, c);
}

void transfer_end(struct transfer *t, const GError *error)
{
	struct content *c = t->content;
	struct fill *f = c->fill;
	g_autoptr(GError) cause = NULL;
	g_autofree char *name = NULL;
	GList *ready = NULL;
	bool lacking;

	/* blocks of a chunk that was cut short stay, until it is fetched again over them */
	if (t->taken > 0)
		store_space_give(f->store, t->taken);
	fill_lock(f);
	t->ended = true;
	lacking = t->first <= t->last;
	name = f->stopped ? g_strdup(c->path) : NULL;
	fill_unlock(f);
	if (lacking && name == NULL)
		name = source_describe(f->source, c->remote);
	if (lacking)
		cause = transfer_cause(t, error, name);

	fill_lock(f);
	if (lacking)
		waiters_fail_locked(c, t, cause, &ready);
	transfer_drop_charge_locked(t);
	c->transfers = g_list_remove_link(c->transfers, &t->link);
	g_queue_unlink(&f->transfers, &t->all);
	if (t->kind == TRANSFER_FETCH && --f->fetches == 0)
		rate_stop(&f->rate, clock_now());
	fill_unlock(f);
	if (lacking)
		transfer_tell(t, cause, ready != NULL);
	waiters_answer(ready);
	transfer_free(t);
}

static void transfer_done(struct source_request *r, const GError *error)
{
	struct transfer *t = (struct transfer *)r;

	if (!rebind_begin(t, error))
		transfer_end(t, error);
}
