/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/list/overlay.h"
#include <glib.h>
#include <string.h>
#include <xxhash.h>

/* Numbers from here on are for names that became local after the directory was loaded. */
#define LATER (OVERLAY_NUMBERS / 2)

struct local_name {
	uint32_t type;
	uint32_t number, cookie; /* one of them */
	char name[];
};

struct overlay_slot {
	uint32_t key;
	struct local_name *entry; /* borrowed; NULL: it was removed */
};

/* Slots by key, rising. */
struct order {
	GArray *slots;
	guint removed;
};

struct overlay {
	GHashTable *local; /* name (of the entry) → struct local_name, owned */
	GHashTable *gone;  /* set of names, owned */
	struct order numbered, unlisted;
	uint32_t last; /* number given out */
};

/* The first slot with a key of at least `key`. */
static guint order_find(const struct order *order, uint64_t key)
{
	guint low = 0, high = order->slots->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;

		if (g_array_index(order->slots, struct overlay_slot, middle).key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct overlay_slot *order_slot(const struct order *order, guint at)
{
	return &g_array_index(order->slots, struct overlay_slot, at);
}

static void order_add(struct order *order, uint32_t key, struct local_name *e)
{
	struct overlay_slot slot = {.key = key, .entry = e};

	g_array_append_val(order->slots, slot);
}

static void order_remove(struct order *order, uint32_t key, const struct local_name *e)
{
	guint at = order_find(order, key), kept = 0;

	if (at == order->slots->len || order_slot(order, at)->entry != e)
		return;
	order_slot(order, at)->entry = NULL;
	order->removed++;
	if (order->removed <= 64 || order->removed <= order->slots->len / 2)
		return;
	for (guint n = 0; n < order->slots->len; n++)
		if (order_slot(order, n)->entry)
			*order_slot(order, kept++) = *order_slot(order, n);
	g_array_set_size(order->slots, kept);
	order->removed = 0;
}

struct overlay *overlay_new(void)
{
	struct overlay *o = g_new0(struct overlay, 1);

	o->local = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
	o->gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	o->numbered.slots = g_array_new(FALSE, FALSE, sizeof(struct overlay_slot));
	o->unlisted.slots = g_array_new(FALSE, FALSE, sizeof(struct overlay_slot));
	o->last = LATER;
	return o;
}

void overlay_free(struct overlay *o)
{
	if (o == NULL)
		return;
	g_array_unref(o->numbered.slots);
	g_array_unref(o->unlisted.slots);
	g_hash_table_unref(o->local);
	g_hash_table_unref(o->gone);
	g_free(o);
}

static void overlay_renumber(struct overlay *o)
{
	struct order *order = &o->numbered;
	guint kept = 0;

	for (guint n = 0; n < order->slots->len; n++) {
		struct local_name *e = order_slot(order, n)->entry;

		if (e == NULL)
			continue;
		e->number = kept + 1;
		*order_slot(order, kept++) = (struct overlay_slot){.key = e->number, .entry = e};
	}
	g_array_set_size(order->slots, kept);
	order->removed = 0;
	o->last = kept;
}

/* NULL: it is there, and has the type now. */
static struct local_name *entry_new(struct overlay *o, const char *name, uint32_t type,
                                    uint32_t cookie)
{
	struct local_name *e = g_hash_table_lookup(o->local, name);
	size_t length = strlen(name) + 1;

	if (e) {
		e->type = type;
		return NULL;
	}
	e = g_malloc0(sizeof *e + length);
	memcpy(e->name, name, length);
	e->type = type;
	e->cookie = cookie;
	g_hash_table_insert(o->local, e->name, e);
	return e;
}

void overlay_load(struct overlay *o, const char *name, uint32_t type, uint32_t cookie,
                  uint32_t number)
{
	struct local_name *e = entry_new(o, name, type, number ? 0 : cookie);

	if (number == 0)
		number = (uint32_t)(XXH3_64bits(name, strlen(name)) % (LATER / 2));
	if (e && e->cookie == 0)
		order_add(&o->numbered, MIN(number, OVERLAY_NUMBERS - 1), e);
}

static gint loaded_compare(gconstpointer a, gconstpointer b)
{
	const struct overlay_slot *one = a, *two = b;

	return one->key != two->key ? (one->key > two->key) - (one->key < two->key)
	                            : strcmp(one->entry->name, two->entry->name);
}

/* The same names get the same numbers, whatever order they were loaded in. */
void overlay_loaded(struct overlay *o)
{
	uint32_t last = 0;

	g_array_sort(o->numbered.slots, loaded_compare);
	for (guint n = 0; n < o->numbered.slots->len; n++) {
		struct overlay_slot *slot = order_slot(&o->numbered, n);

		last = slot->key = slot->entry->number = MAX(slot->key, last + 1);
	}
	o->last = MAX(o->last, last);
}

uint32_t overlay_add(struct overlay *o, const char *name, uint32_t type, uint32_t cookie)
{
	struct local_name *e = entry_new(o, name, type, cookie);

	if (e == NULL || cookie != 0)
		return 0;
	if (o->last >= OVERLAY_NUMBERS - 1)
		overlay_renumber(o);
	e->number = ++o->last;
	order_add(&o->numbered, e->number, e);
	return e->number;
}

void overlay_remove(struct overlay *o, const char *name)
{
	struct local_name *e = g_hash_table_lookup(o->local, name);

	if (e == NULL)
		return;
	if (e->number)
		order_remove(&o->numbered, e->number, e);
	else
		order_remove(&o->unlisted, e->cookie, e);
	g_hash_table_remove(o->local, name);
}

static void entry_tell(const struct local_name *e, struct overlay_entry *out)
{
	*out = (struct overlay_entry){e->name, e->type, e->number, e->cookie};
}

bool overlay_find(const struct overlay *o, const char *name, struct overlay_entry *out)
{
	const struct local_name *e = g_hash_table_lookup(o->local, name);

	if (e)
		entry_tell(e, out);
	return e != NULL;
}

bool overlay_has(const struct overlay *o, const char *name)
{
	return g_hash_table_contains(o->local, name);
}

bool overlay_is_empty(const struct overlay *o)
{
	return g_hash_table_size(o->local) == 0;
}

bool overlay_next(const struct overlay *o, uint32_t number, struct overlay_entry *out)
{
	for (guint n = order_find(&o->numbered, number); n-- > 0;) {
		const struct local_name *e = order_slot(&o->numbered, n)->entry;

		if (e == NULL)
			continue;
		entry_tell(e, out);
		return true;
	}
	return false;
}

bool overlay_next_unlisted(const struct overlay *o, uint32_t cookie, struct overlay_entry *out)
{
	const struct order *order = &o->unlisted;

	for (guint n = order_find(order, (uint64_t)cookie + 1); n < order->slots->len; n++) {
		const struct local_name *e = order_slot(order, n)->entry;

		if (e == NULL)
			continue;
		entry_tell(e, out);
		return true;
	}
	return false;
}

static gint slot_compare(gconstpointer a, gconstpointer b)
{
	const struct overlay_slot *one = a, *two = b;

	return (one->key > two->key) - (one->key < two->key);
}

void overlay_relist(struct overlay *o,
                    bool (*listed)(void *user, const char *name, uint32_t cookie), void *user)
{
	GHashTableIter iter;
	gpointer value;

	g_array_set_size(o->unlisted.slots, 0);
	o->unlisted.removed = 0;
	g_hash_table_iter_init(&iter, o->local);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct local_name *e = value;

		if (e->cookie && !listed(user, e->name, e->cookie))
			order_add(&o->unlisted, e->cookie, e);
	}
	g_array_sort(o->unlisted.slots, slot_compare);
}

void overlay_gone_add(struct overlay *o, const char *name)
{
	g_hash_table_add(o->gone, g_strdup(name));
}

bool overlay_is_gone(const struct overlay *o, const char *name)
{
	return g_hash_table_contains(o->gone, name);
}
