/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/overlay.h"
#include <glib.h>
#include <string.h>

struct entry {
	uint64_t position; /* > 0 */
	uint32_t type;
	bool removed; /* still in `order` */
	char name[];
};

struct overlay {
	GHashTable *local; /* name (of the entry) → struct entry, borrowed */
	GHashTable *gone;  /* set of names, owned */
	GPtrArray *order;  /* of struct entry, owned, by position */
	uint64_t last;     /* position given out */
	guint removed;     /* entries that are */
};

struct overlay *overlay_new(void)
{
	struct overlay *o = g_new0(struct overlay, 1);

	o->local = g_hash_table_new(g_str_hash, g_str_equal);
	o->gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	o->order = g_ptr_array_new_with_free_func(g_free);
	return o;
}

void overlay_free(struct overlay *o)
{
	if (o == NULL)
		return;
	g_hash_table_unref(o->local);
	g_hash_table_unref(o->gone);
	g_ptr_array_unref(o->order);
	g_free(o);
}

void overlay_add(struct overlay *o, const char *name, uint32_t type)
{
	struct entry *e = g_hash_table_lookup(o->local, name);
	size_t length = strlen(name) + 1;

	if (e) {
		e->type = type;
		return;
	}
	e = g_malloc0(sizeof *e + length);
	e->position = ++o->last;
	e->type = type;
	memcpy(e->name, name, length);
	g_ptr_array_add(o->order, e);
	g_hash_table_insert(o->local, e->name, e);
}

static void overlay_compact(struct overlay *o)
{
	GPtrArray *order = g_ptr_array_new_with_free_func(g_free);

	for (guint n = 0; n < o->order->len; n++) {
		struct entry *e = o->order->pdata[n];

		if (!e->removed) {
			g_ptr_array_add(order, e);
			o->order->pdata[n] = NULL;
		}
	}
	g_ptr_array_unref(o->order);
	o->order = order;
	o->removed = 0;
}

void overlay_remove(struct overlay *o, const char *name)
{
	struct entry *e = g_hash_table_lookup(o->local, name);

	if (e == NULL)
		return;
	g_hash_table_remove(o->local, name);
	e->removed = true;
	if (++o->removed > 64 && o->removed > o->order->len / 2)
		overlay_compact(o);
}

bool overlay_find(const struct overlay *o, const char *name, uint32_t *type)
{
	const struct entry *e = g_hash_table_lookup(o->local, name);

	if (e)
		*type = e->type;
	return e != NULL;
}

bool overlay_has(const struct overlay *o, const char *name)
{
	return g_hash_table_contains(o->local, name);
}

void overlay_gone_add(struct overlay *o, const char *name)
{
	g_hash_table_add(o->gone, g_strdup(name));
}

void overlay_gone_remove(struct overlay *o, const char *name)
{
	g_hash_table_remove(o->gone, name);
}

bool overlay_is_gone(const struct overlay *o, const char *name)
{
	return g_hash_table_contains(o->gone, name);
}

bool overlay_next(const struct overlay *o, uint64_t position, const char **name, uint32_t *type,
                  uint64_t *at)
{
	guint low = 0, high = o->order->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;

		if (((struct entry *)o->order->pdata[middle])->position <= position)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < o->order->len; low++) {
		struct entry *e = o->order->pdata[low];

		if (e->removed)
			continue;
		*name = e->name;
		*type = e->type;
		*at = e->position;
		return true;
	}
	return false;
}

void overlay_foreach_gone(const struct overlay *o, void (*fn)(const char *name, void *user),
                          void *user)
{
	GHashTableIter iter;
	gpointer name;

	g_hash_table_iter_init(&iter, o->gone);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		fn(name, user);
}
