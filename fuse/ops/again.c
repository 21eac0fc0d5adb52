/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* READs that the kernel repeats after a failure. */
#include "fuse/events/refusals.h"
#include "fuse/ops/parked.h"
#include "lacuna/precontent.h"

#define AGAIN_NS INT64_C(1000000000)

/* The kernel requests the page that a thread needs once more (refusals.h). On a busy machine that
 * takes a while; a caller that retries by itself meanwhile gets its first error twice. */
void parked_failed(struct parked *p, int error)
{
	struct server *s = p->server;
	struct refusal r = {
	        .ino = p->inode->ino,
	        .offset = p->offset,
	        .end = p->offset + p->size,
	        .tid = p->tid,
	        .left = event_operation(p->tid, LACUNA_READ) == LACUNA_FAULT ? 2 : 1,
	        .error = error,
	        .began_ns = p->began_ns,
	};
	mutex_lock(&s->failing);
	refusals_note(s->failed, r, AGAIN_NS);
	mutex_unlock(&s->failing);
}

int parked_again(struct parked *p)
{
	struct server *s = p->server;
	struct refusal r;
	mutex_lock(&s->failing);
	bool again = refusals_take(s->failed, p->inode->ino, p->tid, p->offset, &r);
	mutex_unlock(&s->failing);
	if (!again)
		return 0;
	p->again = true;
	p->began_ns = r.began_ns;
	return clock_now() - p->began_ns >= (int64_t)s->settings->wait_ms * 1000000 ? r.error : 0;
}
