/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/parked.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fuse/handlers.h"
#include "fuse/trace.h"
#include "fuse/vigil.h"
#include "lacuna/precontent.h"

struct parked *parked_new(struct server *s, fuse_req_t req, struct inode *i, const char *name)
{
	size_t len = name ? strlen(name) : 0;
	struct parked *p = g_malloc0(sizeof(*p) + len + 1);
	p->server = s;
	p->req = req;
	p->inode = i;
	p->refs = 1;
	p->operation = LACUNA_WRITE;
	if (name)
		memcpy(p->name, name, len);
	return p;
}

void parked_free(struct parked *p)
{
	if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (p->content)
		content_unref(p->content);
	inode_put(p->server, p->inode);
	g_free(p->data);
	g_free(p);
}

/* Is a SIGKILL pending for the thread, or has it gone? A signal whose default is to kill
 * shows as one too. */
static bool dying(pid_t tid)
{
	char path[64], line[128];
	if (tid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return errno == ENOENT;
	bool fatal = false;
	while (!fatal && fgets(line, sizeof(line), f)) {
		unsigned long long pending;
		if (sscanf(line, "SigPnd: %llx", &pending) == 1 ||
		    sscanf(line, "ShdPnd: %llx", &pending) == 1)
			fatal = pending >> (SIGKILL - 1) & 1;
		else
			fatal = g_str_has_prefix(line, "State:\tZ") ||
			        g_str_has_prefix(line, "State:\tX");
	}
	fclose(f);
	return fatal;
}

void parked_fail(struct parked *p, int error)
{
	if (p->fail)
		p->fail(p, error);
	else
		fuse_reply_err(p->req, error);
	parked_free(p);
}

/* true: nobody else will answer `p`. */
static bool withdraw(struct parked *p)
{
	struct server *s = p->server;
	return p->kind == PARKED_LIST   ? lister_cancel(s->lister, &p->list)
	       : p->kind == PARKED_FILL ? fill_cancel(s->fill, &p->fill)
	                                : handlers_withdraw(s->handlers, &p->event);
}

/* A signal that is caught waits for the handler's answer, as in the kernel, if there is a handler.
 */
static bool ends(struct parked *p, pid_t tid)
{
	return (p->kind == PARKED_EVENT && handlers_lost(p->server->handlers, &p->event)) ||
	       dying(tid);
}

/* Runs under libfuse's lock of the request, which the other ways to an answer take (in
 * release()) before they touch the request: `p` is alive here. */
static void interrupted(fuse_req_t req, void *data)
{
	struct parked *p = data;
	if (!p->interruptible && !ends(p, fuse_req_ctx(req)->pid)) {
		__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
		vigil_keep(p->server->vigil, p);
		return;
	}
	__atomic_store_n(&p->interrupted, 1, __ATOMIC_SEQ_CST);
	if (withdraw(p)) {
		__atomic_store_n(&p->over, 1, __ATOMIC_RELEASE);
		parked_fail(p, EINTR);
	}
}

/* The wait is over: no interrupt comes any more. */
static void release(struct parked *p)
{
	__atomic_store_n(&p->over, 1, __ATOMIC_RELEASE);
	fuse_req_interrupt_func(p->req, NULL, NULL);
}

bool parked_end_dying(struct parked *p)
{
	if (__atomic_load_n(&p->over, __ATOMIC_ACQUIRE))
		return true;
	pid_t tid = p->kind == PARKED_EVENT ? p->event.cause.pid : p->fill.cause.pid;
	if (!ends(p, tid) || !withdraw(p))
		return false;
	release(p);
	parked_fail(p, EINTR);
	return true;
}

static void filled_job(struct pool_job *job)
{
	struct parked *p = (struct parked *)((char *)job - offsetof(struct parked, job));
	p->resume(p, NULL);
}

void parked_to_disk(struct parked *p)
{
	p->job.run = filled_job;
	pool_submit(p->server->disk, &p->job);
}

static void filled(struct fill_wait *w, int error)
{
	struct parked *p = (struct parked *)((char *)w - offsetof(struct parked, fill));
	release(p);
	if (error)
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
		p->resume(p, listing);
}

/* An interrupt may come before the wait is queued, and then finds nothing to withdraw: hence
 * the second reference and the second look. */
static void park_begin(struct parked *p)
{
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
	if (__atomic_load_n(&p->interrupted, __ATOMIC_SEQ_CST) && withdraw(p)) {
		release(p);
		parked_fail(p, EINTR);
	}
	parked_free(p);
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
	park_begin(p);
	return park_end(p, fill_want(p->content, &p->fill, ahead));
}

static void park_list_begin(struct parked *p)
{
	p->kind = PARKED_LIST;
	p->interruptible = true;
	park_begin(p);
	p->list.pid = fuse_req_ctx(p->req)->pid;
	p->list.done = listed;
}

void parked_list(struct parked *p, struct directory *d)
{
	struct listing *listing = NULL;
	park_list_begin(p);
	if (park_end(p, lister_want(d, &p->list, &listing))) {
		p->resume(p, listing);
		listing_unref(listing);
	}
}

void parked_attributes(struct parked *p, struct directory *d, struct listing *l, uint32_t index)
{
	park_list_begin(p);
	if (park_end(p, lister_want_attributes(d, l, index, &p->list)))
		p->resume(p, NULL);
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
		p->resume(p, NULL);
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
	bool asked = handlers_ask(p->server->handlers, &p->event);
	park_end(p, asked ? -EINPROGRESS : 0);
	return asked;
}
