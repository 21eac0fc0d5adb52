/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The status of the fill engine. */
#include <string.h>
#include "fetch/fill/fill_private.h"

void fill_counters(struct fill *f, struct fill_counters *out)
{
	struct fill_counters now = {
	        .bytes_fetched = __atomic_load_n(&f->bytes_fetched, __ATOMIC_RELAXED),
	        .chunks_fetched = __atomic_load_n(&f->chunks_fetched, __ATOMIC_RELAXED),
	        .chunks_verified = __atomic_load_n(&f->chunks_verified, __ATOMIC_RELAXED),
	        .requests = __atomic_load_n(&f->requests, __ATOMIC_RELAXED),
	        .errors = __atomic_load_n(&f->errors, __ATOMIC_RELAXED),
	        .waits = __atomic_load_n(&f->waits, __ATOMIC_RELAXED),
	        .timeouts = __atomic_load_n(&f->timeouts, __ATOMIC_RELAXED),
	};

	fill_lock(f);
	now.waiters = f->waiters.length;
	now.transfers = f->transfers.length;
	fill_unlock(f);
	*out = now;
}

static GArray *waiters_copy_locked(const struct transfer *t) REQUIRES(fill_locked)
{
	struct content *c = t->content;
	GArray *waiters = g_array_new(FALSE, FALSE, sizeof(struct fill_waiter_info));
	unsigned shift = content_shift(c);
	uint64_t size = content_size(c);

	for (GList *l = c->waiters; l; l = l->next) {
		const struct fill_wait *w = l->data;
		uint64_t end = w->offset + MIN(w->length, size - w->offset);
		struct fill_waiter_info info = {
		        .pid = w->cause.pid,
		        .offset = w->offset,
		        .length = end - w->offset,
		        .since_ns = w->since_ns,
		        .until_ns = w->until_ns,
		};

		if (transfer_holds_any_locked(t, w->offset >> shift, (end - 1) >> shift))
			g_array_append_val(waiters, info);
	}
	return waiters;
}

static void transfer_info_clear(void *data)
{
	struct fill_transfer_info *info = data;

	g_free((char *)info->path);
	g_array_unref(info->waiters);
}

void fill_foreach_transfer(struct fill *f, void (*fn)(const struct fill_transfer_info *, void *),
                           void *user)
{
	g_autoptr(GArray) copy = g_array_new(FALSE, FALSE, sizeof(struct fill_transfer_info));

	g_array_set_clear_func(copy, transfer_info_clear);
	fill_lock(f);
	for (GList *l = f->transfers.head; l; l = l->next) {
		struct transfer *t = l->data;
		struct fill_transfer_info info = {
		        .path = g_strdup(t->content->path),
		        .offset = t->offset,
		        .length = t->length,
		        .arrived = __atomic_load_n(&t->arrived, __ATOMIC_RELAXED),
		        .since_ns = t->since_ns,
		        .retry_ns = __atomic_load_n(&t->read.base.retry_ns, __ATOMIC_RELAXED),
		        .attempt = __atomic_load_n(&t->read.base.attempt, __ATOMIC_RELAXED),
		        .waiters = waiters_copy_locked(t),
		};

		g_array_append_val(copy, info);
	}
	fill_unlock(f);
	for (guint n = 0; n < copy->len; n++)
		fn(&g_array_index(copy, struct fill_transfer_info, n), user);
}

/* Slice n of `slices` stands for the chunks [n × chunks / slices, …), at least one. */
static GByteArray *content_bar(struct store_file *file, uint64_t chunks, unsigned slices)
{
	GByteArray *bar = g_byte_array_sized_new(slices);

	for (unsigned n = 0; n < slices; n++) {
		uint64_t from = (uint64_t)((unsigned __int128)chunks * n / slices);
		uint64_t to = (uint64_t)((unsigned __int128)chunks * (n + 1) / slices), here = 0;
		uint8_t level;

		to = MAX(to, from + 1);
		if (chunks == 0)
			here = to - from;
		else if (file)
			here = store_file_chunks_between(file, from, to);
		level = (uint8_t)((unsigned __int128)here * 255 / (to - from));
		if (here > 0 && level == 0)
			level = 1; /* a slice with data is not shown as empty */
		g_byte_array_append(bar, &level, 1);
	}
	return bar;
}

int content_failure(struct content *c, char **cause, int64_t *at_ns)
{
	int error = 0;

	fill_lock(c->fill);
	if (c->failure) {
		error = c->failure->error;
		*at_ns = c->failure->at_ns;
		*cause = g_strdup(c->failure->cause);
	}
	fill_unlock(c->fill);
	struct content *pack = error ? NULL : content_pack(c);
	return pack ? content_failure(pack, cause, at_ns) : error;
}

/* Of a file in a pack: all of it, or nothing that is worth a word. */
static void packed_info(struct content *c, struct content_info *info)
{
	info->complete = content_present(c, 0, info->size);
	info->present = info->complete ? info->chunks : 0;
}

void content_info(struct content *c, unsigned slices, struct content_info *out)
{
	struct store_file *file = content_file(c);
	struct content_info info = {
	        .size = content_size(c),
	        .chunk_size = UINT64_C(1) << content_shift(c),
	        .chunks = content_chunks(c),
	        .present = file ? store_file_chunks_present(file) : 0,
	        .local_file = file != NULL,
	        .complete = content_complete(c),
	};

	if (content_packed(c))
		packed_info(c, &info);
	if (file && slices > 0 && !info.complete)
		info.doubtful = store_file_doubts(file);
	info.error = content_failure(c, &info.cause, &info.error_ns);
	if (slices > 0)
		info.bar = content_bar(file, info.chunks, slices);
	if (info.bar && content_packed(c) && info.complete)
		memset(info.bar->data, 255, info.bar->len);
	*out = info;
}

void content_info_clear(struct content_info *info)
{
	g_free(info->cause);
	if (info->bar)
		g_byte_array_unref(info->bar);
	*info = (struct content_info){0};
}
