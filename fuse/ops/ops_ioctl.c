/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include "fetch/store/file/dirty.h"
#include "fuse/inode/access.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/journal.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/replay.h"
#include "fuse/ops/reply.h"

struct adding {
	uint32_t seals;
	bool writable;
};

/* A worker before this one added them, and died before the answer: F_SEAL_SEAL would refuse them
 * now. */
static bool are_added(struct server *s, struct inode *i, uint32_t seals)
{
	uint64_t request = replay_unique();
	if (journal_find(s->area, request))
		return (access_seals(i) & seals) == seals && access_keep_seals(s, i) == 0;
	journal_write(s->area, request, &(struct journal_entry){.kind = JOURNAL_SEAL});
	return false;
}

/* On a thread of the disk pool, as the next. */
static void add_run(struct parked *p, struct listing *none)
{
	struct adding *a = p->data;
	struct server *s = p->server;
	int err = s->read_only ? EROFS : 0;
	if (err == 0 && !are_added(s, p->inode, a->seals))
		err = access_add_seals(s, p->inode, a->seals, a->writable);
	if (err) {
		replay_fail(p->req, err);
	} else {
		reply_ioctl(p->req, 0, NULL, 0);
		journal_end(s->area, replay_unique());
	}
	parked_free(p);
}

static void sync_run(struct parked *p, struct listing *none)
{
	int err = -store_sync(p->server->store);
	if (err)
		replay_fail(p->req, err);
	else
		reply_ioctl(p->req, 0, NULL, 0);
	parked_free(p);
}

/* The flags of chattr(1). None is kept: on the local file they would keep it from being filled, and
 * the kernel does not enforce flags that it does not know of. false: another request. */
static bool flags_answer(fuse_req_t req, unsigned cmd, const void *in, size_t in_size,
                         size_t out_size)
{
	const struct fsxattr none = {0};
	const uint32_t no_flags = 0;
	bool same;
	if (cmd == FS_IOC_GETFLAGS && out_size >= sizeof(no_flags)) {
		reply_ioctl(req, 0, &no_flags, sizeof(no_flags));
		return true;
	}
	if (cmd == FS_IOC_FSGETXATTR && out_size >= sizeof(none)) {
		reply_ioctl(req, 0, &none, sizeof(none));
		return true;
	}
	if (cmd == FS_IOC_SETFLAGS && in_size >= sizeof(no_flags))
		same = memcmp(in, &no_flags, sizeof(no_flags)) == 0;
	else if (cmd == FS_IOC_FSSETXATTR && in_size >= sizeof(none))
		same = memcmp(in, &none, sizeof(none)) == 0;
	else
		return false;
	if (same)
		reply_ioctl(req, 0, NULL, 0);
	else
		reply_err(req, EOPNOTSUPP);
	return true;
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
              struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
              size_t out_size)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	uint32_t seals;
	if (!i) {
		reply_err(req, ESTALE);
	} else if (cmd == LACUNA_ADD_SEALS && in_size >= sizeof(seals)) {
		struct handle *h = S_ISREG(i->type) ? handle_get(s->handles, fi->fh) : NULL;
		struct adding *a = g_new(struct adding, 1);
		memcpy(&a->seals, in, sizeof(a->seals));
		a->writable = h && seal_flags_writable(h->flags);
		struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
		p->data = a;
		p->resume = add_run;
		parked_to_disk(p);
	} else if (cmd == LACUNA_GET_SEALS && out_size >= sizeof(seals)) {
		seals = access_seals(i);
		if (S_ISREG(i->type))
			reply_ioctl(req, 0, &seals, sizeof(seals));
		else
			reply_err(req, EINVAL);
	} else if (cmd == LACUNA_SYNC) {
		struct parked *p = parked_new(s, req, inode_ref(s->inodes, i), NULL);
		p->resume = sync_run;
		parked_to_disk(p);
	} else if (!flags_answer(req, cmd, in, in_size, out_size)) {
		reply_err(req, ENOTTY);
	}
	inode_put(s, i);
}
