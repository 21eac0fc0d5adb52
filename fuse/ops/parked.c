/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/parked.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/caller.h"
#include "fuse/events/registry.h"
#include "fuse/events/trace.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/shortage.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/vigil.h"
#include "lacuna/precontent.h"

#define LATER_NS INT64_C(20000000)
/* The evictor calls earlier, unless its round ended before the wait began. */
#define SHORTAGE_NS INT64_C(1000000000)

struct parked *parked_new(struct server *s, fuse_req_t req, struct inode *i, const char *name)
{
	size_t len = name ? strlen(name) : 0;
	struct parked *p = g_malloc0(sizeof(*p) + len + 1);
	p->server = s;
	p->req = req;
	p->inode = i;
	p->refs = 1;
	p->tid = fuse_req_ctx(req)->pid;
	p->began_ns = clock_now();
	mutex_init(&p->lock, RANK_PARKED);
	p->operation = LACUNA_WRITE;
	p->replay = replay_get();
	meter_park(s->meter, req);
	if (name)
		memcpy(p->name, name, len);
	return p;
}

void parked_unref(struct parked *p)
{
	if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (p->content)
		content_unref(p->content);
	inode_put(p->server, p->inode);
	replay_put(p->replay);
	mutex_destroy(&p->lock);
	g_free(p->data);
	g_free(p);
}

void parked_free(struct parked *p)
{
	__atomic_store_n(&p->answered, 1, __ATOMIC_RELEASE);
	parked_unref(p);
}

void parked_fail(struct parked *p, int error)
{
	struct replay_hand before = replay_switch(p->replay);
	if (p->fail)
		p->fail(p, error);
	else
		replay_fail(p->req, error);
	parked_free(p);
	replay_switch_back(before);
}

static void resume(struct parked *p, struct listing *listing)
{
	struct replay_hand before = replay_switch(p->replay);
	p->resume(p, listing);
	replay_switch_back(before);
}

/* true: no other thread will answer `p`. */
static bool withdraw_locked(struct parked *p) REQUIRES(p->lock)
{
	struct server *s = p->server;
	bool mine = p->waits &&
	            (p->kind == PARKED_LIST    ? lister_cancel(s->lister, &p->list)
	             : p->kind == PARKED_FILL  ? fill_cancel(s->fill, &p->fill)
	             : p->kind == PARKED_QUEUE ? waitqueue_leave(s->waitqueue, &p->waitqueue)
	                                       : registry_withdraw(s->handlers, &p->event));
	if (mine)
		p->waits = false;
	return mine;
}

static int64_t longest_ns(const struct parked *p)
{
	return (int64_t)p->server->settings->wait_ms * 1000000;
}

static bool dies(struct parked *p)
{
	enum caller caller = caller_look(p->tid);
	if (caller != CALLER_UNKNOWN)
		return caller == CALLER_DIES;
	int64_t longest = longest_ns(p);
	mutex_lock(&p->lock);
	int64_t since = p->interrupted_ns;
	mutex_unlock(&p->lock);
	return since && clock_now() - since > longest;
}

static void watch(struct parked *p)
{
	mutex_lock(&p->lock);
	bool watched = p->watched;
	p->watched = true;
	if (p->interrupted_ns == 0)
		p->interrupted_ns = clock_now();
	mutex_unlock(&p->lock);
	if (watched)
		return;
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	vigil_keep(p->server->vigil, p);
}

/* Runs under libfuse's lock of the request, which every other path to an answer takes (in
 * release()) before it touches the request: `p` is alive here. libfuse calls it again for each wait
 * of a request that was interrupted in an earlier one. */
static void interrupted(fuse_req_t req, void *data)
{
	struct parked *p = data;
	if (!dies(p)) {
		watch(p);
		return;
	}
	mutex_lock(&p->lock);
	p->ended = true;
	bool mine = withdraw_locked(p);
	mutex_unlock(&p->lock);
	if (mine)
		parked_fail(p, EINTR);
}

/* The wait is over: libfuse reports no more interrupts. */
static void release(struct parked *p)
{
	mutex_lock(&p->lock);
	p->waits = false;
	mutex_unlock(&p->lock);
	fuse_req_interrupt_func(p->req, NULL, NULL);
}

bool parked_end_dying(struct parked *p)
{
	if (__atomic_load_n(&p->answered, __ATOMIC_ACQUIRE))
		return true;
	if (!dies(p))
		return false;
	mutex_lock(&p->lock);
	bool mine = withdraw_locked(p);
	mutex_unlock(&p->lock);
	if (mine) {
		release(p);
		parked_fail(p, EINTR);
	}
	return mine;
}

static void filled_job(struct pool_job *job)
{
	struct parked *p = (struct parked *)((char *)job - offsetof(struct parked, job));
	resume(p, NULL);
}

void parked_to_disk(struct parked *p)
{
	p->job.run = filled_job;
	pool_submit(p->server->disk, &p->job);
}

/* A limit of the daemon is not the reader's; the log has the cause. */
static int read_errno(int error)
{
	return error == EFBIG || replay_waits_for(error) ? EIO : error;
}

/* A handler's errno is the answer, also ENOSPC: no space in the store would change it. */
static void denied(struct parked *p, int error)
{
	reply_err(p->req, error);
	parked_free(p);
}

static void filled(struct fill_wait *w, int error)
{
	struct parked *p = (struct parked *)((char *)w - offsetof(struct parked, fill));
	release(p);
	bool goes_on = p->goes_on = !w->denied && parked_waits_for(p, error);
	if (p->operation == LACUNA_READ && !goes_on)
		error = read_errno(error);
	if (error && p->operation == LACUNA_READ && !p->again && !goes_on)
		parked_failed(p, error);
	if (goes_on && p->operation != LACUNA_READ)
		parked_later(p, error); /* it then looks again for absent chunks */
	else if (error && w->denied && !p->fail)
		denied(p, error);
	else if (error)
		parked_fail(p, error);
	else
		parked_to_disk(p);
}

static void listed(struct lister_wait *w, struct listing *listing, int error)
{
	struct parked *p = (struct parked *)((char *)w - offsetof(struct parked, list));
	release(p);
	if (error)
		parked_fail(p, error);
	else
		resume(p, listing);
}

/* An interrupt may come before the wait is queued, and then finds nothing to withdraw: hence the
 * second reference and the second look. The wait is filled in before. */
static void park_begin(struct parked *p)
{
	mutex_lock(&p->lock);
	p->ended = false;
	p->waits = true;
	mutex_unlock(&p->lock);
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	fuse_req_interrupt_func(p->req, interrupted, p);
}

/* true: there was nothing to wait for, and `p` is the caller's. */
static bool park_end(struct parked *p, int result)
{
	if (result != -EINPROGRESS) {
		release(p);
		__atomic_sub_fetch(&p->refs, 1, __ATOMIC_RELEASE); /* the vigil may have one */
		if (result < 0)
			parked_fail(p, -result);
		return result == 0;
	}
	mutex_lock(&p->lock);
	bool mine = p->ended && withdraw_locked(p);
	mutex_unlock(&p->lock);
	if (mine) {
		release(p);
		parked_fail(p, EINTR);
	}
	parked_unref(p);
	return false;
}

bool parked_fill(struct parked *p, uint64_t ahead)
{
	const struct fuse_ctx *who = fuse_req_ctx(p->req);
	p->kind = PARKED_FILL;
	p->fill = (struct fill_wait){.offset = p->offset, .length = p->size};
	p->fill.cause =
	        (struct source_cause){.pid = who->pid, .uid = who->uid, .operation = p->operation};
	p->fill.done = filled;
	if (p->operation == LACUNA_READ)
		p->fill.since_ns = p->began_ns;
	park_begin(p);
	return park_end(p, fill_want(p->content, &p->fill, ahead));
}

static void park_list_begin(struct parked *p)
{
	p->kind = PARKED_LIST;
	p->list = (struct lister_wait){.pid = p->tid, .done = listed, .since_ns = p->began_ns};
	park_begin(p);
}

void parked_list(struct parked *p, struct directory *d)
{
	struct listing *listing = NULL;
	park_list_begin(p);
	if (park_end(p, lister_want(d, &p->list, &listing))) {
		resume(p, listing);
		listing_unref(listing);
	}
}

void parked_attributes(struct parked *p, struct directory *d, struct listing *l, uint32_t index)
{
	park_list_begin(p);
	if (park_end(p, lister_want_attributes(d, l, index, &p->list)))
		resume(p, NULL);
}

static void judged(struct event *e, enum verdict verdict, int error, int fd)
{
	struct parked *p = (struct parked *)((char *)e - offsetof(struct parked, event));
	bool passes = verdict == VERDICT_ALLOW || verdict == VERDICT_FETCH;
	release(p);
	tracers_tell(p->server->tracers, e, verdict == VERDICT_DENY ? error : 0);
	event_clear(e);
	e->fd = fd;
	if (!passes && fd >= 0)
		close(fd);
	if (passes)
		resume(p, NULL);
	else if (verdict == VERDICT_DENY && !p->fail)
		denied(p, error);
	else
		parked_fail(p, verdict == VERDICT_DENY ? error : EIO);
}

bool parked_ask(struct parked *p, uint64_t offset, uint64_t length, bool cached)
{
	const struct fuse_ctx *who = fuse_req_ctx(p->req);
	p->kind = PARKED_EVENT;
	p->event = (struct event){
	        .offset = offset,
	        .length = length,
	        .cause = {.owner = p->inode,
	                  .pid = who->pid,
	                  .uid = who->uid,
	                  .operation = p->operation},
	        .every = true,
	        .cached = cached,
	        .done = judged,
	};
	park_begin(p);
	bool asked = registry_ask(p->server->handlers, &p->event);
	park_end(p, asked ? -EINPROGRESS : 0);
	return asked;
}

bool parked_waits_for(struct parked *p, int error)
{
	return replay_waits_for(error) || shortage_may_end(p->server, error, p->needs, &p->seen);
}

static bool is_shortage(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* Its time is up: no second wait. */
static void shortage_fail(struct parked *p, int error)
{
	reply_err(p->req, error);
	parked_free(p);
}

static void called(struct waitqueue_entry *w, int error)
{
	struct parked *p = (struct parked *)((char *)w - offsetof(struct parked, waitqueue));
	release(p);
	if (error && is_shortage(error))
		shortage_fail(p, error);
	else if (error)
		parked_fail(p, error);
	else
		parked_to_disk(p);
}

void parked_later(struct parked *p, int error)
{
	struct server *s = p->server;
	bool shortage = is_shortage(error);
	uint64_t need = p->needs;
	if (shortage && clock_now() >= p->began_ns + longest_ns(p)) {
		shortage_fail(p, error);
		return;
	}
	if (error != CLAIM_BUSY && !shortage)
		handle_table_spare(s->handles);
	p->kind = PARKED_QUEUE;
	p->waitqueue = (struct waitqueue_entry){
	        .what = shortage ? s->shortage : NULL,
	        .again_ns = clock_now() + (shortage ? SHORTAGE_NS : LATER_NS),
	        .until_ns = p->began_ns + longest_ns(p),
	        .error = shortage ? error : EIO, /* no other is a limit of the caller's */
	        .done = called};
	park_begin(p);
	int err = waitqueue_enter(s->waitqueue, &p->waitqueue);
	park_end(p, err ? err : -EINPROGRESS);
	if (shortage)
		shortage_tell(s, error, need);
}

void parked_claimed(struct parked *p)
{
	p->kind = PARKED_QUEUE;
	p->waitqueue = (struct waitqueue_entry){.what = p->inode,
	                                        .until_ns = p->began_ns + longest_ns(p),
	                                        .error = EIO,
	                                        .done = called};
	park_begin(p);
	if (park_end(p, claims_wait(p->server, p->inode, &p->waitqueue)))
		parked_to_disk(p);
}
