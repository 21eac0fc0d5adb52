/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict/evict.h"
#include <errno.h>
#include <sys/stat.h>
#include "fuse/inode/claim.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/pinned.h"
#include "fuse/evict/inquiry.h"
#include "fuse/evict/leftovers.h"
#include "fuse/evict/pack.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

static bool refuse(struct leaving *out, int error, const char *cause)
{
	out->error = error;
	out->cause = cause;
	return false;
}

/* Under a claim. The kernel's pages go first: the version of data fetched afterwards is unknown. */
static int evict_bytes(struct server *s, struct inode *i, uint64_t *freed)
{
	mutex_lock(&i->lock);
	i->keep_cache = false;
	mutex_unlock(&i->lock);
	notifier_inode_now(s->notifier, inode_id(i));
	struct content *c = inode_open_content(s, i);
	int err = content_open(c);
	if (err == 0)
		err = content_evict(c, freed);
	if (err == 0) {
		__atomic_add_fetch(&s->counters.evicted_files, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&s->counters.evicted_bytes, *freed, __ATOMIC_RELAXED);
	}
	mutex_lock(&i->lock);
	i->complete = err == 0 && content_lasts(c);
	i->version = 0;
	mutex_unlock(&i->lock);
	content_unref(c);
	int failed;
	inode_version(s, i, &failed); /* a blank file is dropped, and has no version */
	return -err;
}

/* Claims the file, if it still is as it was when the source was asked. */
static bool claim_version(struct server *s, struct inode *i, source_version version,
                          struct leaving *out)
{
	int err = claim_begin(s, i, &out->cause);
	if (err)
		return refuse(out, err, out->cause);
	if (inode_version(s, i, &err) == version && !err)
		return true;
	claim_end(s, i);
	return refuse(out, err ? err : EAGAIN, err ? NULL : "changed during the operation");
}

/* A file that the source lacks, or cannot be asked about, is the last copy. */
void evict_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){0};
	if (S_ISDIR(i->type))
		leftovers_drop(s, i, out);
	if (!S_ISREG(i->type) || i->born)
		return;
	if (inode_is_pinned(s, i)) {
		refuse(out, EPERM, "pinned");
		return;
	}
	g_autofree char *remote = inode_remote(s, i);
	struct source_stat st;
	source_version version = remote ? inode_version(s, i, &out->error) : 0;
	if (version == 0 && remote && !out->error && !i->local)
		pack_evict_of(s, i, remote, out);
	if (version == 0 || out->error)
		return;
	out->error = inquiry_stat(s, remote, 0, &st);
	if (out->error) {
		refuse(out, out->error,
		       "kept: the source does not confirm that it still has this version");
		return;
	}
	out->newer = st.version != version;
	if (out->newer) {
		refuse(out, ESTALE, "kept: the source has another version");
		return;
	}
	if (!claim_version(s, i, version, out))
		return;
	if (inode_is_pinned(s, i)) /* while the source was asked */
		refuse(out, EPERM, "pinned");
	else
		out->error = evict_bytes(s, i, &out->bytes);
	claim_end(s, i);
}

/* Under a claim: inode and listing take the source's attributes. Users of the previous content keep
 * it to themselves. */
static void take_version(struct server *s, struct inode *i, const struct source_stat *st)
{
	uint32_t index;
	struct inode *parent = NULL;
	struct listing *l = inode_listed_in(s, i, &index, &parent);
	if (l)
		directory_resolve(inode_open_directory(s, parent), l, index, st->size,
		                  st->mtime_known, st->mtime_ns);
	if (l)
		listing_unref(l);
	inode_put(s, parent);
	mutex_lock(&i->lock);
	i->content = NULL;
	if (i->size != st->size)
		i->resend_size = INODE_RESEND_SIZE;
	i->size = st->size;
	if (st->mtime_known)
		i->mtime_ns = st->mtime_ns;
	i->complete = st->size == 0;
	i->version = 0;
	i->outdated = false;
	mutex_unlock(&i->lock);
	notifier_inode_now(s->notifier, inode_id(i));
}

/* The file's path at the source, also if all of its data is local; NULL: made here. */
static char *origin_of(struct server *s, struct inode *i)
{
	struct tree_node node;
	if (!i->born)
		return inode_remote(s, i);
	g_autofree char *path = way_path(s, i);
	if (tree_look(s->store, path, &node) != 0)
		return NULL;
	char *remote = g_steal_pointer(&node.remote);
	tree_node_clear(&node);
	return remote;
}

/* Under a claim. */
static void refresh_claimed(struct server *s, struct inode *i, const struct source_stat *st,
                            struct leaving *out)
{
	mutex_lock(&i->lock);
	bool local = i->local, busy = i->content;
	mutex_unlock(&i->lock);
	if (local) {
		refuse(out, EEXIST, "changed locally");
		return;
	}
	if (busy) {
		refuse(out, EBUSY, "a transfer of it is under way");
		return;
	}
	out->error = evict_bytes(s, i, &out->bytes);
	if (out->error == 0)
		take_version(s, i, st);
}

/* An inode never changes its kind: the next listing gives the name to another one. */
static void became_directory(struct server *s, struct inode *i, struct leaving *out)
{
	struct inode *parent = inode_parent(s, i, NULL);
	refuse(out, EISDIR, "it is a directory at the source now");
	directory_expire(inode_open_directory(s, parent));
	notifier_inode_now(s->notifier, inode_id(parent));
	inode_put(s, parent);
}

void refresh_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){0};
	if (S_ISDIR(i->type)) {
		directory_expire(inode_open_directory(s, i));
		notifier_inode_now(s->notifier, inode_id(i));
		return;
	}
	g_autofree char *remote = S_ISREG(i->type) ? origin_of(s, i) : NULL;
	struct source_stat st;
	source_version version = remote ? inode_version(s, i, &out->error) : 0;
	if (version == 0 || out->error)
		return;
	mutex_lock(&i->lock);
	int64_t listed_ns = i->mtime_ns;
	mutex_unlock(&i->lock);
	out->error = inquiry_stat(s, remote, listed_ns, &st);
	if (out->error == EISDIR)
		became_directory(s, i, out);
	else if (out->error)
		refuse(out, out->error, "kept: the source does not say which version it has");
	if (out->error || st.version == version)
		return;
	out->newer = true;
	if (i->local) {
		refuse(out, EEXIST, "changed locally");
		return;
	}
	out->error = inquiry_read(s, i, remote, &st);
	if (out->error) {
		refuse(out, out->error, "the source lists another version, but does not serve it");
		return;
	}
	if (!claim_version(s, i, version, out))
		return;
	refresh_claimed(s, i, &st, out);
	claim_end(s, i);
}
