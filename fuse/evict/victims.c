/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/victims.h"
#include <glib.h>
#include "fetch/store/disk/lru.h"
#include "fetch/store/tree/measure.h"
#include "fuse/inode/server.h"

/* More files than that are spared only until the next walk. */
#define SPARED_MAX 65536
#define SECOND INT64_C(1000000000)

struct victims {
	struct server *server;
	GArray *list;       /* of struct victim; the next one is the last */
	GHashTable *spared; /* number → struct spare, owned */
};

struct spare {
	int64_t changed_ns, until_ns;
};

struct victim_search {
	struct victims *victims;
	GArray *list;
	bool (*wanted)(void *user);
	void *user;
};

static void victim_clear(gpointer data)
{
	g_free(((struct victim *)data)->path);
}

static GArray *list_new(void)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct victim));
	g_array_set_clear_func(list, victim_clear);
	return list;
}

struct victims *victims_new(struct server *s)
{
	struct victims *v = g_new0(struct victims, 1);
	v->server = s;
	v->list = list_new();
	v->spared = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return v;
}

void victims_free(struct victims *v)
{
	g_array_unref(v->list);
	g_hash_table_unref(v->spared);
	g_free(v);
}

static void *key_of(uint64_t number)
{
	return (void *)(uintptr_t)number;
}

void victims_spare(struct victims *v, uint64_t number, int64_t changed_ns, int64_t until_ns)
{
	const struct spare one = {changed_ns, until_ns};
	if (g_hash_table_size(v->spared) >= SPARED_MAX)
		g_hash_table_remove_all(v->spared);
	g_hash_table_insert(v->spared, key_of(number), g_memdup2(&one, sizeof one));
}

static bool is_spared(struct victims *v, uint64_t number, int64_t changed_ns)
{
	const struct spare *one = g_hash_table_lookup(v->spared, key_of(number));
	if (one && one->until_ns <= clock_now()) {
		g_hash_table_remove(v->spared, key_of(number));
		return false;
	}
	return one && one->changed_ns == changed_ns;
}

static int64_t used_ns(struct server *s, uint64_t number)
{
	return (int64_t)store_lru_time(s->store, number) * SECOND;
}

/* The last one was used longest ago. */
static gint compare(gconstpointer a, gconstpointer b)
{
	int64_t x = ((const struct victim *)a)->used_ns, y = ((const struct victim *)b)->used_ns;
	return (x < y) - (x > y);
}

static void list_cut(GArray *list)
{
	g_array_sort(list, compare);
	if (list->len > VICTIMS_MAX)
		g_array_remove_range(list, 0, list->len - VICTIMS_MAX);
}

static void found(void *user, const struct measured *m)
{
	struct victim_search *f = user;
	if (is_spared(f->victims, m->number, m->fetched_ns))
		return;
	const struct victim one = {
	        .path = g_strdup(m->path),
	        .number = m->number,
	        .bytes = m->bytes,
	        .used_ns = MAX(m->fetched_ns, used_ns(f->victims->server, m->number)),
	        .changed_ns = m->fetched_ns,
	};
	g_array_append_val(f->list, one);
	if (f->list->len >= 2 * VICTIMS_MAX)
		list_cut(f->list);
}

static bool goes_on(void *user)
{
	const struct victim_search *f = user;
	return f->wanted(f->user);
}

int victims_find(struct victims *v, bool (*wanted)(void *user), void *user)
{
	struct victim_search f = {.victims = v, .list = list_new(), .wanted = wanted, .user = user};
	const struct measure m = {.file = found, .wanted = goes_on, .user = &f};
	int err = store_measure(v->server->store, &m);
	if (err) {
		g_array_unref(f.list);
		return err;
	}
	list_cut(f.list);
	g_array_unref(v->list);
	v->list = f.list;
	return 0;
}

bool victims_next(struct victims *v, struct victim *out)
{
	while (v->list->len > 0) {
		struct victim *last = &g_array_index(v->list, struct victim, v->list->len - 1);
		bool later = is_spared(v, last->number, last->changed_ns) ||
		             used_ns(v->server, last->number) > last->used_ns;
		if (!later) {
			*out = *last;
			last->path = NULL;
		}
		g_array_set_size(v->list, v->list->len - 1);
		if (!later)
			return true;
	}
	return false;
}
