/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/link_table.h"
#include <glib.h>
#include <xxhash.h>

struct link {
	uint64_t key; /* hash of device and inode number */
	uint64_t ino;
	uint32_t nid; /* of 31 bits: format.h */
	uint32_t names;
};

struct link_table {
	GArray *links;   /* of struct link; a number is a place in it */
	uint32_t *table; /* owned; open addressing: number + 1, 0 = free */
	uint64_t mask;
};

static uint64_t key_of(uint64_t device, uint64_t ino)
{
	uint64_t what[2] = {device, ino};
	return XXH3_64bits(what, sizeof(what));
}

struct link_table *link_table_new(void)
{
	struct link_table *l = g_new0(struct link_table, 1);
	l->links = g_array_new(FALSE, FALSE, sizeof(struct link));
	l->mask = 1023;
	l->table = g_new0(uint32_t, l->mask + 1);
	return l;
}

void link_table_free(struct link_table *l)
{
	if (l == NULL)
		return;
	g_array_free(l->links, TRUE);
	g_free(l->table);
	g_free(l);
}

static struct link *link_at(const struct link_table *l, uint32_t number)
{
	return &g_array_index(l->links, struct link, number);
}

static uint64_t place_of(const struct link_table *l, uint64_t key, uint64_t ino)
{
	uint64_t at = key & l->mask;
	while (l->table[at] != 0) {
		const struct link *k = link_at(l, l->table[at] - 1);
		if (k->key == key && k->ino == ino)
			break;
		at = (at + 1) & l->mask;
	}
	return at;
}

static void grow(struct link_table *l)
{
	l->mask = 2 * l->mask + 1;
	g_free(l->table);
	l->table = g_new0(uint32_t, l->mask + 1);
	for (uint32_t n = 0; n < l->links->len; n++) {
		const struct link *k = link_at(l, n);
		l->table[place_of(l, k->key, k->ino)] = n + 1;
	}
}

uint32_t link_table_add(struct link_table *l, uint64_t device, uint64_t ino, uint64_t *nid)
{
	uint64_t key = key_of(device, ino), at = place_of(l, key, ino);
	if (l->table[at] != 0) {
		uint32_t number = l->table[at] - 1;
		link_at(l, number)->names++;
		*nid = link_at(l, number)->nid;
		return number;
	}
	if (l->links->len >= UINT32_MAX / 2)
		return UINT32_MAX;
	if (4 * (uint64_t)(l->links->len + 1) > 3 * l->mask) {
		grow(l);
		at = place_of(l, key, ino);
	}
	struct link k = {key, ino, 0, 1};
	g_array_append_val(l->links, k);
	l->table[at] = l->links->len;
	*nid = 0;
	return l->links->len - 1;
}

void link_table_set(struct link_table *l, uint32_t number, uint64_t nid)
{
	link_at(l, number)->nid = (uint32_t)nid;
}

uint32_t link_table_count(const struct link_table *l, uint32_t number)
{
	return link_at(l, number)->names;
}
