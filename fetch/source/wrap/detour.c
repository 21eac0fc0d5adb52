/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/detour.h"
#include <glib.h>
#include <string.h>
#include <xxhash.h>

static uint64_t key_of(const char *path)
{
	return XXH3_64bits(path, strlen(path));
}

void detour_note(struct detours *d, const char *path, unsigned mirror, int64_t now,
                 int64_t until_ns)
{
	uint64_t key = key_of(path);
	unsigned at = key % DETOUR_PLACES;
	if (detour_mirrors(d, path, now) == 0)
		d->places[at].mirrors = 0;
	d->places[at].key = key;
	d->places[at].mirrors |= UINT32_C(1) << mirror;
	d->places[at].until_ns = until_ns;
}

uint32_t detour_mirrors(const struct detours *d, const char *path, int64_t now)
{
	uint64_t key = key_of(path);
	unsigned at = key % DETOUR_PLACES;
	bool known = d->places[at].key == key && now < d->places[at].until_ns;
	return known ? d->places[at].mirrors : 0;
}
