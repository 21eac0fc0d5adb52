/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/quiet.h"
#include <glib.h>
#include <string.h>
#include <xxhash.h>

static uint64_t key_of(const char *path)
{
	return XXH3_64bits(path, strlen(path));
}

void quiet_note(struct quiet *q, const char *path, bool all, int64_t until_ns)
{
	uint64_t key = key_of(path);
	if (all) {
		q->all_ns = MAX(q->all_ns, until_ns);
		return;
	}
	q->places[key % QUIET_PLACES].key = key;
	q->places[key % QUIET_PLACES].until_ns = until_ns;
}

int64_t quiet_until(const struct quiet *q, const char *path)
{
	uint64_t key = key_of(path);
	int64_t own = q->places[key % QUIET_PLACES].key == key
	                      ? q->places[key % QUIET_PLACES].until_ns
	                      : 0;
	return MAX(own, q->all_ns);
}
