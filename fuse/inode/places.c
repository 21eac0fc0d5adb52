/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/places.h"
#include <stddef.h>
#include "fuse/base/area.h"
#include "fuse/inode/server.h"

struct place {
	uint64_t key; /* set last, cleared first */
	uint32_t number;
};

#define WAYS 8 /* places that a key may have */

/* The first of them; NULL: the area does not outlive this worker. */
static struct place *places_of(struct server *s, uint64_t key)
{
	size_t sets = area_region_size(s->area, AREA_PLACES) / (WAYS * sizeof(struct place));
	return sets ? (struct place *)area_region(s->area, AREA_PLACES) + key % sets * WAYS : NULL;
}

static struct place *place_find(struct place *set, uint64_t key)
{
	for (unsigned n = 0; set && n < WAYS; n++)
		if (__atomic_load_n(&set[n].key, __ATOMIC_ACQUIRE) == key)
			return &set[n];
	return NULL;
}

void place_note(void *user, uint64_t key, uint32_t number)
{
	struct place *set = places_of(user, key), *p = place_find(set, key);
	if (!p)
		p = place_find(set, 0);
	if (!p)
		p = set ? &set[number % WAYS] : NULL;
	if (!p)
		return;
	__atomic_store_n(&p->key, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&p->number, number, __ATOMIC_RELEASE);
	__atomic_store_n(&p->key, key, __ATOMIC_RELEASE);
}

uint32_t place_of(void *user, uint64_t key)
{
	const struct place *p = key ? place_find(places_of(user, key), key) : NULL;
	uint32_t number = p ? __atomic_load_n(&p->number, __ATOMIC_ACQUIRE) : 0;
	return p && __atomic_load_n(&p->key, __ATOMIC_ACQUIRE) == key ? number : 0;
}
