/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/root.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/nanoseconds.h"
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"

struct root_wait {
	struct lister_wait wait;
	int answered; /* eventfd */
	int error;
};

static void root_listed(struct lister_wait *w, struct listing *listing, int error)
{
	struct root_wait *r = (struct root_wait *)w;
	uint64_t one = 1;
	int answered = r->answered;
	__atomic_store_n(&r->error, error, __ATOMIC_RELEASE);
	if (write(answered, &one, sizeof(one)) < 0)
		g_error("eventfd: %s", g_strerror(errno));
}

/* Until the root is listed, a signal stops the daemon, or the command that waits for the mount has
 * gone (Ctrl-C). */
static int root_wait(struct server *s, struct root_wait *r, int signals, int ready_fd)
{
	struct pollfd fds[] = {
	        {.fd = r->answered, .events = POLLIN},
	        {.fd = signals, .events = POLLIN},
	        {.fd = ready_fd}, /* a pipe without a reader is POLLERR */
	};
	while (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno == EINTR)
		;
	if (!fds[0].revents && lister_cancel(s->lister, &r->wait))
		return EINTR;
	uint64_t answers; /* a wait that could not be cancelled is being answered */
	if (read(r->answered, &answers, sizeof(answers)) < 0)
		g_error("eventfd: %s", g_strerror(errno));
	return __atomic_load_n(&r->error, __ATOMIC_ACQUIRE);
}

/* The listing of the root tells what kind of source it is, and may tell of the root itself. */
static void root_describe(struct server *s, struct inode *root)
{
	struct source_published unused;
	s->xattrs = source_lister(s->source)->xattrs || !s->read_only;
	s->indexed = source_published(s->source, &unused);
	struct listing *top = source_top(s->source);
	if (!top)
		return;
	const struct listing_entry e = *listing_at(top, 0);
	listing_unref(top);
	mutex_lock(&root->lock);
	if (!root->local) {
		root->mode = e.mode;
		root->uid = e.uid;
		root->gid = e.gid;
		root->nlink = e.nlink;
		root->mtime_ns = e.mtime_ns;
	}
	mutex_unlock(&root->lock);
}

bool root_list(struct server *s, struct inode *root, int signals, int ready_fd, GError **error)
{
	struct directory *d = inode_open_directory(s, root);
	struct root_wait r = {.wait.done = root_listed, .answered = eventfd(0, EFD_CLOEXEC)};
	struct listing *l = NULL;
	int err = -lister_want(d, &r.wait, &l);
	if (err == EINPROGRESS)
		err = root_wait(s, &r, signals, ready_fd);
	close(r.answered);
	if (l)
		listing_unref(l);
	/* a listing of the store is of a version that perhaps nobody signed */
	if (err == 0)
		root_describe(s, root);
	if (err == 0 && (s->indexed || !s->settings->source_options.keys))
		return true;
	err = err != 0 ? err : EIO;
	g_autofree char *cause = directory_cause(d);
	const char *why = err == EINTR ? "interrupted before it answered"
	                  : cause      ? cause
	                               : g_strerror(err);
	/* for a URL the cause names it, or the one that it redirects to */
	bool named =
	        why == cause && (strstr(why, "://") || g_str_has_prefix(why, s->settings->source));
	g_set_error(error, LOCAL_ERROR, err, "%s%s%s", named ? "" : s->settings->source,
	            named ? "" : ": ", why);
	return false;
}

struct inode *root_new(struct server *s)
{
	const struct source_options *o = &s->settings->source_options;
	struct listing_entry e = {
	        .ino = 1,
	        .mode = S_IFDIR | (o->dir_mode ? o->dir_mode : 0755),
	        .uid = o->uid,
	        .gid = o->gid,
	        .nlink = 1,
	        .mtime_ns = s->started_ns,
	};
	struct stat st;
	const char *source = s->settings->source;
	if (g_str_has_prefix(source, "dir:") && stat(source + 4, &st) == 0) {
		e.mode = st.st_mode;
		if (!o->own) {
			e.uid = st.st_uid;
			e.gid = st.st_gid;
		}
		e.nlink = st.st_nlink;
		e.mtime_ns = nanoseconds(st.st_mtim);
	}
	struct inode *root = inode_intern(s, NULL, "", &e, false);
	struct tree_node node;
	if (root && tree_look(s->store, "", &node) == 0) {
		inode_take(s, root, &node);
		tree_node_clear(&node);
	}
	return root;
}
