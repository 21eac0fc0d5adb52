/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/journal_private.h"
#include <glib.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include "fuse/base/area.h"

#define ENTRIES 4096 /* far more than requests are under way */
#define PROBES 16

/* Entries further from their place than PROBES: while there are some, all are looked at. */
static _Atomic uint32_t far;

/* The requests are apart from their entries: a search touches two or three cache lines. */
struct journal {
	_Atomic uint64_t requests[ENTRIES]; /* 0: the entry is free; set last, cleared first */
	struct journal_entry entries[ENTRIES];
};

static struct journal *table(struct area *a)
{
	return area_region(a, AREA_JOURNAL);
}

/* The kernel counts requests by twos. */
static unsigned probe(uint64_t request, unsigned n)
{
	return (unsigned)((request / 2 + n) % ENTRIES);
}

static bool is_far(unsigned at, uint64_t request)
{
	return (at + ENTRIES - probe(request, 0)) % ENTRIES >= PROBES;
}

/* ENTRIES: none. */
static unsigned place_of(struct area *a, uint64_t request)
{
	unsigned probes = far > 0 ? ENTRIES : PROBES;
	for (unsigned n = 0; request && a->kept && n < probes; n++)
		if (table(a)->requests[probe(request, n)] == request)
			return probe(request, n);
	return ENTRIES;
}

struct journal_entry *journal_find(struct area *a, uint64_t request)
{
	unsigned at = place_of(a, request);
	return at < ENTRIES ? &table(a)->entries[at] : NULL;
}

static void entry_free(struct area *a, unsigned at)
{
	far -= is_far(at, table(a)->requests[at]);
	table(a)->requests[at] = 0;
}

bool journal_is_done(struct area *a, uint64_t request)
{
	const struct journal_entry *e = journal_find(a, request);
	return e && e->done;
}

/* An entry that no request owns, for this one. ENTRIES: all are in use. */
static unsigned take(struct area *a, uint64_t request)
{
	static _Atomic bool told;
	for (unsigned n = 0; n < ENTRIES; n++) {
		uint64_t none = 0;
		unsigned at = probe(request, n);
		if (atomic_compare_exchange_strong(&table(a)->requests[at], &none, UINT64_MAX)) {
			far += is_far(at, request);
			return at;
		}
	}
	if (!atomic_exchange(&told, true))
		g_warning("too many requests change names: if the worker dies, one may be "
		          "repeated");
	return ENTRIES;
}

void journal_write(struct area *a, uint64_t request, const struct journal_entry *e)
{
	unsigned at = place_of(a, request);
	if (at == ENTRIES && request && a->kept)
		at = take(a, request);
	if (at == ENTRIES)
		return;
	struct journal_entry *to = &table(a)->entries[at];
	table(a)->requests[at] = UINT64_MAX; /* nobody's, until it is whole */
	memcpy(to, e, offsetof(struct journal_entry, name));
	memcpy(to->name, e->name, strlen(e->name) + 1);
	memcpy(to->newname, e->newname, strlen(e->newname) + 1);
	table(a)->requests[at] = request;
}

void journal_end(struct area *a, uint64_t request)
{
	unsigned at = place_of(a, request);
	if (at < ENTRIES)
		entry_free(a, at);
}

void journal_sent_again(struct area *a, uint64_t request)
{
	struct journal_entry *e = journal_find(a, request);
	if (e)
		e->awaited = false;
}

void journal_settle(struct area *a)
{
	for (unsigned n = 0; n < ENTRIES; n++)
		if (table(a)->requests[n] && table(a)->entries[n].awaited)
			entry_free(a, n);
}

void journal_each(struct area *a, void (*each)(void *user, struct journal_entry *e), void *user)
{
	far = 0;
	for (unsigned n = 0; n < ENTRIES; n++) {
		_Atomic uint64_t *request = &table(a)->requests[n];
		if (*request == UINT64_MAX) /* the worker was killed before it was whole */
			*request = 0;
		if (!*request)
			continue;
		far += is_far(n, *request);
		each(user, &table(a)->entries[n]);
	}
}
