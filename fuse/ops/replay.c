/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/replay.h"
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/caller.h"
#include "fuse/inode/claim.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/shortage.h"
#include "fuse/inode/strikes.h"
#include "fuse/inode/waitqueue.h"
#include "fuse/ops/reply.h"

/* Each request that waits keeps its message up to this size: an xattr's value, and names. A WRITE
 * is kept once it has failed. */
#define KEPT_MAX (80u << 10)
#define AGAIN_NS INT64_C(20000000)
/* The evictor calls earlier, unless its round ended before the wait began. */
#define SHORTAGE_NS INT64_C(1000000000)

struct replay {
	struct server *server;
	struct waitqueue_entry wait;
	struct pool_job job;
	int64_t began_ns; /* the first time that it could not be served; 0: none yet */
	int refs;         /* atomic */
	struct meter_hand arrived;
	bool done;
	uint64_t seen; /* shortage.h */
	int why;       /* the error of the last try */
	size_t size;
	_Alignas(8) char message[];
};

static __thread struct replay_hand hand;
static __thread struct server *hand_server; /* of hand.message */

static const struct fuse_in_header *header_of(const struct replay *r)
{
	return (const struct fuse_in_header *)r->message;
}

void replay_put(struct replay *r)
{
	if (r && __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) == 0)
		g_free(r);
}

static struct replay *kept(size_t most)
{
	const struct fuse_buf *m = hand.message;
	if (!hand.replay && m && m->size <= most && m->size >= sizeof(struct fuse_in_header)) {
		struct replay *r = g_malloc0(sizeof(*r) + m->size);
		r->server = hand_server;
		r->refs = 1;
		r->arrived = meter_at_hand();
		r->size = m->size;
		memcpy(r->message, m->mem, m->size);
		hand.replay = r;
	}
	if (hand.replay)
		__atomic_add_fetch(&hand.replay->refs, 1, __ATOMIC_RELAXED);
	return hand.replay;
}

struct replay *replay_get(void)
{
	return kept(KEPT_MAX);
}

uint64_t replay_unique(void)
{
	const struct fuse_in_header *in = hand.replay    ? header_of(hand.replay)
	                                  : hand.message ? hand.message->mem
	                                                 : NULL;
	return in ? in->unique & ~REPLAY_SENT_AGAIN : 0;
}

struct replay_hand replay_switch(struct replay *r)
{
	struct replay_hand before = hand;
	if (r)
		__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	hand = (struct replay_hand){.replay = r};
	if (r)
		hand.worked = strikes_work(r->server->area, replay_unique());
	return before;
}

void replay_switch_back(struct replay_hand before)
{
	if (hand.replay)
		strikes_work(hand.replay->server->area, hand.worked);
	replay_put(hand.replay);
	hand = before;
}

void replay_process(struct server *s, const struct fuse_buf *message)
{
	hand = (struct replay_hand){.message = message};
	hand_server = s;
	uint64_t worked = strikes_work(s->area, replay_unique());
	fuse_session_process_buf(s->session, message);
	strikes_work(s->area, worked);
	replay_put(hand.replay);
	hand = (struct replay_hand){0};
}

bool replay_waits_for(int error)
{
	return error == EMFILE || error == ENFILE || error == CLAIM_BUSY;
}

bool replay_is_done(void)
{
	return hand.replay && hand.replay->done;
}

void replay_set_done(void)
{
	struct replay *r = kept(SIZE_MAX);
	if (r)
		r->done = true;
	replay_put(r);
}

static void run(struct pool_job *job)
{
	struct replay *r = (struct replay *)((char *)job - offsetof(struct replay, job));
	const struct fuse_buf message = {.size = r->size, .mem = r->message};
	struct replay_hand before = replay_switch(r);
	struct meter_hand metered = meter_switch(r->arrived);
	fuse_session_process_buf(r->server->session, &message);
	meter_switch(metered);
	replay_switch_back(before);
	replay_put(r);
}

/* libfuse does not know the request meanwhile. */
static void answer(struct replay *r, int error)
{
	const struct fuse_out_header out = {
	        .len = sizeof(out),
	        .error = -error,
	        .unique = header_of(r)->unique,
	};
	meter_end_as(r->server->meter, r->arrived, error);
	if (write(fuse_session_fd(r->server->session), &out, sizeof(out)) < 0 && errno != ENOENT)
		g_message("a reply could not be sent: %s", g_strerror(errno)); /* unmounted */
	journal_end(r->server->area, out.unique & ~REPLAY_SENT_AGAIN);
	replay_put(r);
}

static int late_errno(const struct replay *r)
{
	if (!replay_waits_for(r->why)) /* no space */
		return r->why;
	g_message("a request timed out after %u ms: %s", r->server->settings->wait_ms,
	          r->why == CLAIM_BUSY ? "its file is being evicted or refreshed"
	                               : g_strerror(r->why));
	return EIO;
}

static void called(struct waitqueue_entry *w, int error)
{
	struct replay *r = (struct replay *)((char *)w - offsetof(struct replay, wait));
	if (error) {
		answer(r, error == ETIME ? late_errno(r) : error);
		return;
	}
	r->job.run = run;
	pool_submit(r->server->disk, &r->job);
}

/* 0: it may wait, also if its caller cannot be looked at: that takes a descriptor. */
static int overdue(const struct replay *r, int64_t until_ns)
{
	if (clock_now() >= until_ns)
		return ETIME;
	return caller_look((pid_t)header_of(r)->pid) == CALLER_DIES ? EINTR : 0;
}

void replay_fail(fuse_req_t req, int error)
{
	struct area *area = ((struct server *)fuse_req_userdata(req))->area;
	bool transient = replay_waits_for(error);
	uint64_t seen = hand.replay ? hand.replay->seen : 0;
	uint64_t need = hand.replay ? hand.replay->size : hand.message ? hand.message->size : 0;
	bool shortage = !transient && shortage_may_end(fuse_req_userdata(req), error, need, &seen);
	struct replay *r = transient || shortage ? kept(SIZE_MAX) : NULL;
	if (!r) {
		uint64_t request = replay_unique();
		reply_err(req, transient ? EIO : error);
		journal_end(area, request);
		return;
	}
	struct server *s = r->server;
	r->seen = seen;
	if (transient && error != CLAIM_BUSY)
		handle_table_spare(s->handles);
	if (!r->began_ns)
		r->began_ns = clock_now();
	int64_t until_ns = r->began_ns + (int64_t)s->settings->wait_ms * 1000000;
	r->why = error;
	int over = overdue(r, until_ns);
	if (over) {
		reply_err(req, over == ETIME ? late_errno(r) : over);
		journal_end(area, replay_unique());
		replay_put(r);
		return;
	}
	r->wait = (struct waitqueue_entry){.what = shortage ? s->shortage : NULL,
	                                   .again_ns = clock_now() +
	                                               (shortage ? SHORTAGE_NS : AGAIN_NS),
	                                   .until_ns = until_ns,
	                                   .error = ETIME,
	                                   .done = called};
	reply_none(req); /* frees it; the kernel waits on */
	if (waitqueue_enter(s->waitqueue, &r->wait) < 0)
		answer(r, EIO); /* the mount ends */
	if (shortage)
		shortage_tell(s, error, need);
}
