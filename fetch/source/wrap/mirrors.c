/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/mirrors_private.h"

void mirrors_note_maker(struct mirrors *m, unsigned index)
{
	__atomic_or_fetch(&m->makers, UINT32_C(1) << index, __ATOMIC_RELAXED);
}

static bool mirrors_listed(const struct source *s, const char *validator)
{
	struct mirrors *m = (struct mirrors *)s;
	for (unsigned i = 0; i < m->count; i++)
		if (source_shape_is(m->mirrors[i].inner, validator)) {
			mirrors_note_maker(m, i);
			return true;
		}
	mirrors_note_maker(m, m->count - 1); /* perhaps: its options were others */
	return false;
}

static void mirrors_stop(struct source *s)
{
	struct mirrors *m = (struct mirrors *)s;
	mutex_lock(&m->lock);
	m->stopped = true;
	mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->count; i++)
		source_stop(m->mirrors[i].inner);
}

/* A request on its way from one mirror to another: no mirror may be freed before all have ended. */
static void mirrors_close(struct source *s)
{
	struct mirrors *m = (struct mirrors *)s;
	mirrors_stop(s);
	mutex_lock(&m->lock);
	while (m->busy > 0)
		condition_wait(&m->idle, &m->lock);
	mutex_unlock(&m->lock);
	pool_free(m->pool);
	for (unsigned i = 0; i < m->count; i++) {
		source_close(m->mirrors[i].inner);
		g_free(m->mirrors[i].name);
		g_free(m->mirrors[i].cause);
	}
	condition_destroy(&m->idle);
	mutex_destroy(&m->lock);
	g_free(m);
}

/* Of the mirror that is used now. */
static char *mirrors_describe(struct source *s, const char *path)
{
	struct mirrors *m = (struct mirrors *)s;
	mutex_lock(&m->lock);
	unsigned first = mirror_first_locked(m);
	mutex_unlock(&m->lock);
	return source_describe(m->mirrors[first < m->count ? first : 0].inner, path);
}

static const struct source_ops mirrors_ops = {
        .name = "mirrors",
        .list = failover_list,
        .stat = failover_stat,
        .read = failover_read,
        .stop = mirrors_stop,
        .close = mirrors_close,
        .describe = mirrors_describe,
        .listed = mirrors_listed,
};

struct mirrors *mirrors_new(struct source *const *inner, unsigned count,
                            const struct mirrors_options *options)
{
	g_assert(count >= 2 && count <= MIRRORS_MAX);
	struct mirrors *m = g_malloc0(sizeof(*m) + count * sizeof(m->mirrors[0]));
	m->base.ops = &mirrors_ops;
	m->count = count;
	m->options = *options;
	m->options.retry_ms = options->retry_ms != 0 ? options->retry_ms : 10000;
	m->options.takeover_ms = options->takeover_ms != 0 ? options->takeover_ms : 900000;
	mutex_init(&m->lock, RANK_MIRRORS);
	condition_init(&m->idle);
	m->pool = pool_new("mirrors", 1);
	for (unsigned i = 0; i < count; i++) {
		struct source *s = inner[i];
		m->mirrors[i].inner = s;
		m->mirrors[i].name = source_describe(s, "");
		m->base.xattrs = m->base.xattrs || s->xattrs;
		m->base.cyclic = m->base.cyclic || s->cyclic;
		m->base.dir_mode = m->base.dir_mode != 0 ? m->base.dir_mode : s->dir_mode;
		m->base.file_mode = m->base.file_mode != 0 ? m->base.file_mode : s->file_mode;
	}
	return m;
}

struct source *mirrors_source(struct mirrors *m)
{
	return &m->base;
}

void mirrors_foreach(struct mirrors *m, void (*fn)(const struct mirror_info *, void *), void *user)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct mirror *one = &m->mirrors[i];
		mutex_lock(&m->lock);
		g_autofree char *cause = g_strdup(one->cause);
		struct mirror_info info = {
		        .url = one->name,
		        .cause = cause,
		        .cause_ns = one->cause_ns,
		        .failed = one->health.failed,
		        .used = mirror_first_locked(m) == i,
		        .since_ns = one->health.changed_ns,
		        .until_ns = one->health.until_ns,
		        .requests = one->requests,
		        .errors = one->errors,
		        .source = one->inner,
		};
		mutex_unlock(&m->lock);
		fn(&info, user);
	}
}
