/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/inode/claim.h"
#include <errno.h>
#include <unistd.h>
#include "fuse/inode/backing.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/lease.h"
#include "fuse/inode/server.h"

/* The kernel releases a backing file a little after it sends the RELEASE: tries, and µs between
 * them. */
#define LEASE_TRIES 20
#define LEASE_PAUSE 1000

bool claims_enter(struct inode *i)
{
	mutex_lock(&i->lock);
	bool enters = !i->claimed;
	i->opening += enters;
	mutex_unlock(&i->lock);
	return enters;
}

int claims_wait(struct server *s, struct inode *i, struct waitqueue_entry *w)
{
	mutex_lock(&i->lock); /* claim_end() calls the queue after this */
	int err = i->claimed ? waitqueue_enter(s->waitqueue, w) : 0;
	bool waits = i->claimed && err == 0;
	mutex_unlock(&i->lock);
	return waits ? -EINPROGRESS : err;
}

void claims_leave(struct inode *i)
{
	mutex_lock(&i->lock);
	i->opening--;
	mutex_unlock(&i->lock);
}

bool claim_try_locked(struct inode *i)
{
	if (i->handles > 0 || i->opening > 0 || i->claimed || i->content)
		return false;
	i->claimed = CLAIMED;
	return true;
}

void claim_end(struct server *s, struct inode *i)
{
	mutex_lock(&i->lock);
	if (i->claimed == CLAIMED_COUNTED)
		write_handles_put(&i->extra->handles);
	i->claimed = UNCLAIMED;
	mutex_unlock(&i->lock);
	waitqueue_call(s->waitqueue, i);
}

static int refuse(int error, const char *why, const char **cause)
{
	*cause = why;
	return error;
}

/* Does a descriptor or a mapping in passthrough hold the file, of this mount or of one whose
 * daemon has died? The content's descriptor is our only one by now, except for a mixed file,
 * which needs no test: it was never whole, so never in passthrough, and becomes fully local
 * before it can be. */
static bool is_held(struct server *s, struct inode *i, struct content *c)
{
	int fd = i->mixed ? -1 : content_fd(c);
	enum lease lease = fd < 0 ? LEASE_FREE : lease_probe(fd, true);
	if (lease == LEASE_HELD)
		backing_spare(s->backing);
	for (int n = 0; lease == LEASE_HELD && n < LEASE_TRIES; n++) {
		usleep(LEASE_PAUSE);
		lease = lease_probe(fd, true);
	}
	return lease == LEASE_HELD || (lease == LEASE_UNKNOWN && !backing_unusable(s->backing));
}

int claim_begin(struct server *s, struct inode *i, const char **cause)
{
	mutex_lock(&i->lock);
	struct inode_extra *x = i->extra;
	bool running = x && write_handles_is_running(&x->handles);
	bool open = i->handles > 0 || i->opening > 0, claimed = i->claimed;
	bool sealed = x && x->seals;
	if (!running && !open && !sealed && !claimed) {
		i->claimed = x ? CLAIMED_COUNTED : CLAIMED;
		if (x && write_handles_get(&x->handles) < 0)
			g_assert_not_reached(); /* nothing is open */
	}
	mutex_unlock(&i->lock);
	if (running)
		return refuse(ETXTBSY, "running", cause);
	if (open || claimed)
		return refuse(EBUSY, open ? "open" : "being evicted by somebody else", cause);
	if (sealed)
		return refuse(EPERM, "sealed", cause);
	backing_drop(s->backing, i);
	struct content *c = inode_open_content(s, i);
	int err = -content_open(c);
	/* with another inode of that name, whose file the source has replaced */
	bool shared = !err && content_shared(c);
	bool held = shared || (!err && is_held(s, i, c));
	content_unref(c);
	if (err || held)
		claim_end(s, i);
	return err ? err : held ? refuse(EBUSY, shared ? "open" : "mapped", cause) : 0;
}
