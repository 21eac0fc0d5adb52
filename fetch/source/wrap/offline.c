/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/wrap/offline.h"
#include "fetch/base/pool.h"

struct offline {
	struct source base;
	struct source *inner; /* owned */
	struct pool *pool;
};

struct offline_answer {
	struct pool_job job; /* first */
	struct source *source;
	struct source_request *request;
};

static void answer_run(struct pool_job *job)
{
	struct offline_answer *r = (struct offline_answer *)job;
	struct source_request *request = r->request;
	g_autofree char *name = source_describe(r->source, request->path);
	g_autoptr(GError) error =
	        g_error_new(FETCH_ERROR, FETCH_UNREACHABLE,
	                    "%s: not in the store, and the mount is offline (-o offline)", name);
	g_free(r);
	request->done(request, error);
}

static void fail_later(struct source *s, struct source_request *request)
{
	struct offline_answer *r = g_new0(struct offline_answer, 1);
	r->job.run = answer_run;
	r->source = s;
	r->request = request;
	pool_submit(((struct offline *)s)->pool, &r->job);
}

static void offline_list(struct source *s, struct source_list *req)
{
	fail_later(s, &req->base);
}

static void offline_stat(struct source *s, struct source_stat *req)
{
	fail_later(s, &req->base);
}

static void offline_read(struct source *s, struct source_read *req)
{
	fail_later(s, &req->base);
}

static void offline_close(struct source *s)
{
	struct offline *o = (struct offline *)s;
	pool_free(o->pool);
	source_close(o->inner);
	g_free(o);
}

static char *offline_describe(struct source *s, const char *path)
{
	return source_describe(((struct offline *)s)->inner, path);
}

static const struct source_ops offline_ops = {
        .name = "offline",
        .list = offline_list,
        .stat = offline_stat,
        .read = offline_read,
        .close = offline_close,
        .describe = offline_describe,
};

struct source *offline_new(struct source *inner)
{
	struct offline *o = g_new0(struct offline, 1);
	o->base = (struct source){.ops = &offline_ops,
	                          .xattrs = inner->xattrs,
	                          .lists = inner,
	                          .dir_mode = inner->dir_mode,
	                          .file_mode = inner->file_mode,
	                          .cyclic = inner->cyclic};
	o->inner = inner;
	o->pool = pool_new("offline", 1);
	return &o->base;
}
