/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/resent.h"
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/journal.h"
#include "fuse/inode/strikes.h"
#include "fuse/inode/takeover.h"
#include "fuse/ops/release.h"
#include "fuse/ops/replay.h"

/* The headers of Debian 12 lack FUSE_NOTIFY_RESEND and FUSE_TMPFILE. */
#define NOTIFY_RESEND 7
#define OPCODE_TMPFILE 51
/* The same of FUSE_HAS_RESEND, bit 39 of the flags */
#define HAS_RESEND (1u << (39 - 32))

struct init_message {
	struct fuse_in_header header;
	struct fuse_init_in init;
};

static bool can_resend(const struct init_message *m, size_t size)
{
	return size >= sizeof(*m) && (m->init.flags & FUSE_INIT_EXT) &&
	       (m->init.flags2 & HAS_RESEND);
}

void resent_note_init(struct server *s, const struct fuse_buf *message)
{
	struct area *a = s->area;
	const struct fuse_in_header *in = message->mem;
	if (in->opcode != FUSE_INIT || message->size > sizeof(a->init))
		return;
	memcpy(a->init, message->mem, message->size);
	a->init_size = (uint32_t)message->size;
	a->resends = can_resend(message->mem, message->size);
	if (a->kept && !a->resends)
		g_message("if the worker dies, the mount is dead: the kernel is older than 6.9");
}

/* The INIT was answered long ago: the reply goes nowhere, which libfuse ignores. */
void resent_init(struct server *s)
{
	struct fuse_buf init = {.mem = s->area->init, .size = s->area->init_size};
	replay_process(s, &init);
}

bool resent_begin(struct server *s)
{
	const struct fuse_out_header again = {.len = sizeof(again), .error = NOTIFY_RESEND};
	takeover_backing(s);
	if (write(fuse_session_fd(s->session), &again, sizeof(again)) >= 0)
		return true;
	if (errno != ENODEV)
		g_warning("pending requests cannot be resumed: %s", g_strerror(errno));
	return false;
}

/* Workers died of it, again and again: it is not tried once more. */
static void give_up(struct server *s, const struct fuse_in_header *in)
{
	const struct fuse_out_header out = {
	        .len = sizeof(out), .error = -EIO, .unique = in->unique};
	g_warning("a request of process %u (operation %u) fails: workers died of it", in->pid,
	          in->opcode);
	if (write(fuse_session_fd(s->session), &out, sizeof(out)) < 0 && errno != ENOENT)
		g_warning("a reply could not be sent: %s", g_strerror(errno));
	journal_end(s->area, in->unique & ~REPLAY_SENT_AGAIN);
}

/* A worker before this one read the request, and died before it answered. */
static void sent_again(struct server *s, const struct fuse_in_header *in)
{
	uint64_t request = in->unique & ~REPLAY_SENT_AGAIN;
	journal_sent_again(s->area, request);
	if (in->opcode != FUSE_OPEN && in->opcode != FUSE_CREATE && in->opcode != OPCODE_TMPFILE)
		return;
	struct handle *h = handle_of_request(s->handles, request);
	if (!h) /* nobody has learned of the handle, and of the inode that was made with it */
		return;
	uint64_t node = inode_id(h->inode);
	handle_release(s, h);
	if (in->opcode != FUSE_OPEN)
		inode_forget(s, node, 1);
}

bool resent_look(struct server *s, const struct fuse_in_header *in, bool *catching_up)
{
	if (in && (in->unique & REPLAY_SENT_AGAIN)) {
		sent_again(s, in);
		if (in->opcode == FUSE_INTERRUPT ||
		    !strikes_out(s->area, in->unique & ~REPLAY_SENT_AGAIN))
			return true;
		give_up(s, in);
		return false;
	}
	if (!in || (in->opcode != FUSE_INTERRUPT && in->opcode != FUSE_FORGET &&
	            in->opcode != FUSE_BATCH_FORGET)) {
		journal_settle(s->area);
		*catching_up = false;
	}
	return true;
}
