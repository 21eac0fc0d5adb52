/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Continues a partly cached file in another version, if that is proven to be the same so far.
 *
 * ETags of two servers of one tree may differ, though the file is the same: once the server of the
 * cached chunks is gone, no other can continue the file. Equal sizes and times are no proof: a file
 * may change twice in a second. So all that is cached is read again from the other server and
 * compared: if every byte is equal, everything that any reader has got is the other version's, and
 * the file follows that one from here on.
 *
 * 1. A transfer fails with FETCH_CHANGED: the ranges that are cached are read, of the listed time
 *    and of any version, and compared.
 * 2. All are equal: store_file_repin(), then transfer_again().
 * 3. They are not, or cannot be read: transfer_end() with the transfer's error.
 *
 * Shape:   one per content at a time, at most one a minute; transfers that fail meanwhile wait for
 *          its end
 * Not:     local or kept files, whose changes have the old version's bytes beside them; doubtful
 *          chunks; files without a time in the listing
 * Waiters: keep their deadlines
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fetch/fill/fill_private.h"
#include "fetch/store/disk/space.h"

#define PAUSE_NS INT64_C(60000000000)
#define ROUNDS_MAX 8 /* over chunks that arrived meanwhile */

struct rebind {
	struct source_read read; /* first */
	struct content *content; /* of its transfers, which have references */
	struct store_file *file;
	struct transfer *waiting FILL_LOCKED; /* a chain by `next`; they end when this does */
	GError *error;                        /* owned; of the transfer that began it */
	uint64_t from, to;                    /* versions; to 0: not known yet */
	uint8_t *compared;                    /* owned; one bit per chunk */
	uint64_t chunks, first, last;         /* of the file; being compared */
	unsigned rounds;
};

static void rebind_next(struct rebind *b, uint64_t chunk);

static bool is_compared(const struct rebind *b, uint64_t chunk)
{
	return b->compared[chunk / 8] >> chunk % 8 & 1;
}

static void rebind_free(struct rebind *b)
{
	g_error_free(b->error);
	g_free(b->compared);
	g_free(b);
}

/* Requests again what `t` still holds, of the version that the file has now. */
static void transfer_again(struct transfer *t)
{
	struct fill *f = t->content->fill;
	bool send;

	if (t->taken > 0)
		store_space_give(f->store, t->taken);
	XXH3_freeState(t->hash);
	fill_lock(f);
	t->taken = t->unwanted = 0;
	t->began_ns = 0;
	t->local_error = 0;
	t->hash = NULL;
	t->changed = t->ended = false;
	send = !f->stopped && t->first <= t->last;
	if (send)
		transfer_prepare_locked(t);
	f->submitting += send;
	fill_unlock(f);
	if (!send) {
		transfer_end(t, NULL);
		return;
	}
	__atomic_add_fetch(&f->requests, 1, __ATOMIC_RELAXED);
	source_read(f->source, &t->read);
	fill_submitted(f);
}

/* `again`: the transfers that wait are sent again, of the version that the file has now. */
static void rebind_end(struct rebind *b, bool again)
{
	struct content *c = content_ref(b->content);
	struct fill *f = c->fill;
	struct transfer *waiting;

	fill_lock(f);
	c->rebind = NULL;
	waiting = b->waiting;
	fill_unlock(f);
	if (again && b->to != b->from) {
		g_message("/%s: goes on in another version, whose bytes agree with all that is "
		          "cached",
		          c->path);
		if (f->options.rebound && c->owner)
			f->options.rebound(f->options.user, c);
	}
	for (struct transfer *t = waiting, *next; t; t = next) {
		next = t->next;
		if (again)
			transfer_again(t);
		else
			transfer_end(t, b->error);
	}
	rebind_free(b);
	content_unref(c);
}

/* All that was present has been compared. */
static void rebind_pin(struct rebind *b)
{
	int err = b->to != 0 ? store_file_repin(b->file, b->from, b->to, b->compared) : -ESTALE;

	if (err == -EAGAIN && ++b->rounds < ROUNDS_MAX)
		rebind_next(b, 0);
	else
		rebind_end(b, err == 0);
}

static int rebind_begun(struct source_read *r)
{
	struct rebind *b = (struct rebind *)r;

	if (r->supplied) /* a handler's, who knows no version of the source's */
		return -ECANCELED;
	b->to = r->version;
	return b->to == b->from ? -ECANCELED : 0; /* its own server is back */
}

/* Bytes of one chunk, which is to be compared. */
static int compare(struct rebind *b, uint64_t offset, const char *buffer, size_t length)
{
	char own[16384];

	while (length > 0) {
		ssize_t n =
		        pread(store_file_fd(b->file), own, MIN(length, sizeof own), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if (memcmp(own, buffer, (size_t)n) != 0)
			return -EILSEQ;
		buffer += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

/* A server that ignores ranges sends the whole file: the rest is not looked at. */
static int rebind_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct rebind *b = (struct rebind *)r;
	unsigned shift = content_shift(b->content);
	const char *bytes = buffer;
	int err = 0;

	while (length > 0 && err == 0) {
		uint64_t chunk = offset >> shift;
		size_t n = MIN(length, content_chunk_end(b->content, chunk) - offset);

		if (chunk >= b->first && chunk <= b->last)
			err = compare(b, offset, bytes, n);
		bytes += n;
		offset += n;
		length -= n;
	}
	return err;
}

static void rebind_done(struct source_request *r, const GError *error)
{
	struct rebind *b = (struct rebind *)r;

	if (error != NULL) {
		rebind_end(b, b->to != 0 && b->to == b->from);
		return;
	}
	for (uint64_t k = b->first; k <= b->last; k++)
		b->compared[k / 8] |= (uint8_t)(1u << k % 8);
	rebind_next(b, b->last + 1);
}

static void rebind_prepare(struct rebind *b)
{
	struct content *c = b->content;
	struct source_read *r = &b->read;

	*r = (struct source_read){
	        .base = {.path = c->remote, .done = rebind_done},
	        .offset = b->first << content_shift(c),
	        .size = content_size(c),
	        .mtime_ns = c->origin.mtime_ns,
	        .demand = DEMAND_LISTED,
	        .pinned = b->to,
	        .begin = rebind_begun,
	        .data = rebind_data,
	};
	r->length = content_chunk_end(c, b->last) - r->offset;
}

/* Compares the next range from `chunk` on that is present and was not compared. */
static void rebind_next(struct rebind *b, uint64_t chunk)
{
	struct fill *f = b->content->fill;
	bool send;

	while (chunk < b->chunks &&
	       (is_compared(b, chunk) || !store_file_present(b->file, chunk, chunk)))
		chunk++;
	if (chunk >= b->chunks) {
		rebind_pin(b);
		return;
	}
	b->first = b->last = chunk;
	while (b->last + 1 < b->chunks && !is_compared(b, b->last + 1) &&
	       store_file_present(b->file, b->last + 1, b->last + 1))
		b->last++;
	fill_lock(f);
	send = !f->stopped;
	f->submitting += send;
	fill_unlock(f);
	if (!send) {
		rebind_end(b, false);
		return;
	}
	rebind_prepare(b);
	source_read(f->source, &b->read);
	fill_submitted(f);
}

static bool may_begin_locked(struct content *c, int64_t now) REQUIRES(fill_locked)
{
	struct store_file *file = content_file(c);

	return file && c->origin.mtime_ns != 0 && store_file_version(file) != 0 &&
	       store_file_doubts(file) == 0 && store_file_chunks_present(file) > 0 &&
	       !c->fill->stopped && (c->rebound_ns == 0 || now - c->rebound_ns >= PAUSE_NS);
}

/* `t` was for a version that the file does not follow any more. */
static bool is_overtaken(const struct transfer *t)
{
	return t->read.pinned != 0 &&
	       store_file_version(content_file(t->content)) != t->read.pinned;
}

/* Sets c->rebind, if there is memory. */
static void rebind_new_locked(struct content *c, const GError *error) REQUIRES(fill_locked)
{
	uint64_t chunks = content_chunks(c);
	uint8_t *compared = g_try_malloc0(chunks / 8 + 1);
	struct rebind *b;

	if (compared == NULL)
		return;
	b = g_new0(struct rebind, 1);
	b->content = c;
	b->file = content_file(c);
	b->from = store_file_version(b->file);
	b->chunks = chunks;
	b->compared = compared;
	b->error = g_error_copy(error);
	c->rebind = b;
	c->rebound_ns = clock_now();
}

bool rebind_begin(struct transfer *t, const GError *error)
{
	struct content *c = t->content;
	struct fill *f = c->fill;
	struct store_file *file = content_file(c);
	struct rebind *b = NULL;
	bool changed = t->read.base.elsewhere && t->local_error == 0, again, waits = false;

	if (error == NULL || file == NULL || store_file_kept(file) ||
	    !(changed || t->changed || t->local_error == ESTALE))
		return false;
	fill_lock(f);
	again = is_overtaken(t) && c->rebind == NULL;
	if (!again && (changed || is_overtaken(t)) && t->first <= t->last) {
		waits = c->rebind != NULL;
		if (!waits && changed && may_begin_locked(c, clock_now())) {
			rebind_new_locked(c, error);
			b = c->rebind;
			waits = b != NULL;
		}
	}
	if (waits) {
		t->ended = true; /* it is neither split nor given chunks while it waits */
		t->next = c->rebind->waiting;
		c->rebind->waiting = t;
	}
	fill_unlock(f);
	if (again)
		transfer_again(t);
	if (b)
		rebind_next(b, 0);
	return again || waits;
}
