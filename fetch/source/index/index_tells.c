/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What an indexed source tells of its tree, without a request. */
#include <string.h>
#include "fetch/source/index/index_source_private.h"
#include "fetch/source/index/pack_read.h"

static struct edition *current_of(const struct source *source)
{
	struct index_source *s = (struct index_source *)(uintptr_t)source;
	mutex_lock(&s->lock);
	struct edition *current = s->current;
	mutex_unlock(&s->lock);
	return current;
}

const struct source *index_source_lister(const struct source *s)
{
	return current_of(s) != NULL ? s : ((const struct index_source *)s)->inner;
}

bool index_source_listed(const struct source *s, const char *validator)
{
	const struct edition *e = current_of(s);
	return e != NULL && edition_listed(e, validator);
}

struct listing *index_source_top(const struct source *s)
{
	struct edition *e = current_of(s);
	return e != NULL ? edition_top(e) : NULL;
}

bool index_source_published(const struct source *source, struct source_published *out)
{
	struct index_source *s = (struct index_source *)(uintptr_t)source;
	mutex_lock(&s->lock);
	const struct edition *e = s->current;
	struct source_published p = {
	        .serial = s->serial, .checked_ns = s->asked_ns, .pinned = s->pinned};
	mutex_unlock(&s->lock);
	if (e == NULL)
		return false;
	const struct index_tail *t = index_tail(e->index);
	g_autofree char *root = digest_text(&e->head.root), *key = digest_text(&e->key);
	g_strlcpy(p.root, root, sizeof(p.root));
	if (s->options.keys != NULL)
		g_strlcpy(p.key, key, sizeof(p.key));
	p.is_signed = e->head.is_signed;
	p.size = t->size;
	p.files = t->files;
	p.bytes = t->bytes;
	*out = p;
	return true;
}

bool index_source_packed(const struct source *s, const char *path, uint64_t size,
                         struct source_packed *out)
{
	struct edition *e = current_of(s);
	return e != NULL && index_tail(e->index)->object_count > 0 && pack_of(e, path, size, out);
}
