/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/inquiry.h"
#include <errno.h>
#include "fetch/base/lock.h"
#include "fuse/events/registry.h"

struct awaited {
	struct mutex lock;
	struct condition come;
	bool done, certain;
	int error;
};

struct awaited_stat {
	struct source_stat stat; /* first */
	struct awaited answer;
};

struct awaited_read {
	struct source_read read; /* first */
	struct awaited answer;
};

static void answer_init(struct awaited *a)
{
	*a = (struct awaited){.done = false};
	mutex_init(&a->lock, RANK_INQUIRY);
	condition_init(&a->come);
}

static void answer_give(struct awaited *a, int error)
{
	mutex_lock(&a->lock);
	a->done = true;
	a->error = error;
	condition_signal(&a->come);
	mutex_unlock(&a->lock);
}

static int answer_wait(struct awaited *a)
{
	mutex_lock(&a->lock);
	while (!a->done)
		condition_wait(&a->come, &a->lock);
	mutex_unlock(&a->lock);
	condition_destroy(&a->come);
	mutex_destroy(&a->lock);
	return a->certain ? 0 : a->error;
}

static void stat_done(struct source_request *r, const GError *error)
{
	answer_give(&((struct awaited_stat *)r)->answer, fetch_error_errno(error, true));
}

int inquiry_stat(struct server *s, const char *remote, int64_t listed_ns, struct source_stat *out)
{
	struct awaited_stat a = {.stat = {.base = {.path = (char *)remote, .done = stat_done},
	                                  .listed_ns = listed_ns}};
	answer_init(&a.answer);
	source_stat(s->source, &a.stat);
	int err = answer_wait(&a.answer);
	*out = a.stat;
	return err ? err : out->version == 0 ? EIO : 0;
}

/* The headers are as they should be: no data is needed. */
static int read_begin(struct source_read *r)
{
	((struct awaited_read *)r)->answer.certain = true;
	return -ECANCELED;
}

static int read_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	return -ECANCELED;
}

static void read_done(struct source_request *r, const GError *error)
{
	answer_give(&((struct awaited_read *)r)->answer,
	            error ? fetch_error_errno(error, false) : EIO);
}

int inquiry_read(struct server *s, struct inode *i, const char *remote,
                 const struct source_stat *st)
{
	/* the source need not have data that a handler supplies */
	if (st->size == 0 || registry_want(s->handlers, i, false))
		return 0;
	struct awaited_read a = {.read = {.base = {.path = (char *)remote, .done = read_done},
	                                  .length = 1,
	                                  .size = st->size,
	                                  .mtime_ns = st->mtime_ns,
	                                  .pinned = st->version,
	                                  .cause = {.owner = i},
	                                  .begin = read_begin,
	                                  .data = read_data}};
	answer_init(&a.answer);
	source_read(s->source, &a.read);
	return answer_wait(&a.answer);
}
