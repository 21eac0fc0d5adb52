/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/evict.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/backing.h"
#include "fuse/notify.h"
#include "fuse/ops.h"

struct evictions {
	pthread_mutex_t lock;
	GQueue waiting; /* of struct parked: opens, of any inode */
};

struct evictions *evictions_new(void)
{
	struct evictions *e = g_new0(struct evictions, 1);
	pthread_mutex_init(&e->lock, NULL);
	g_queue_init(&e->waiting);
	return e;
}

void evictions_free(struct evictions *e)
{
	g_assert(e->waiting.length == 0);
	pthread_mutex_destroy(&e->lock);
	g_free(e);
}

bool evictions_enter(struct server *s, struct inode *i, struct parked *(*park)(void *), void *user)
{
	struct evictions *e = s->evictions;
	pthread_mutex_lock(&i->lock);
	bool enters = !i->evicting;
	if (enters) {
		i->opening++;
	} else {
		pthread_mutex_lock(&e->lock);
		g_queue_push_tail(&e->waiting, park(user));
		pthread_mutex_unlock(&e->lock);
	}
	pthread_mutex_unlock(&i->lock);
	return enters;
}

void evictions_leave(struct inode *i)
{
	pthread_mutex_lock(&i->lock);
	i->opening--;
	pthread_mutex_unlock(&i->lock);
}

static bool refuse(struct leaving *out, int error, const char *cause)
{
	out->error = error;
	out->cause = cause;
	return false;
}

static void evict_end(struct server *s, struct inode *i)
{
	struct evictions *e = s->evictions;
	GQueue mine = G_QUEUE_INIT;
	pthread_mutex_lock(&i->lock);
	if (i->evicting == EVICTION_COUNTED)
		write_handles_put(&i->extra->handles);
	i->evicting = EVICTION_NONE;
	pthread_mutex_unlock(&i->lock);
	pthread_mutex_lock(&e->lock);
	for (GList *next, *l = e->waiting.head; l; l = next) {
		next = l->next;
		if (((struct parked *)l->data)->inode != i)
			continue;
		g_queue_unlink(&e->waiting, l);
		g_queue_push_tail_link(&mine, l);
	}
	pthread_mutex_unlock(&e->lock);
	for (struct parked *p; (p = g_queue_pop_head(&mine));)
		parked_to_disk(p);
}

/* A passthrough mapping outlives its handle; nobody gets a write lease on what is mapped. */
static bool is_mapped(struct server *s, struct inode *i)
{
	if (backing_unusable(s->backing))
		return false;
	g_autofree char *path = inode_path(s, i);
	int fd = store_open_readonly(s->store, path, i->ino);
	if (fd < 0)
		return false;
	bool mapped = fcntl(fd, F_SETLEASE, F_WRLCK) < 0;
	if (!mapped)
		fcntl(fd, F_SETLEASE, F_UNLCK);
	close(fd);
	return mapped;
}

static bool evict_begin(struct server *s, struct inode *i, struct leaving *out)
{
	pthread_mutex_lock(&i->lock);
	struct inode_extra *x = i->extra;
	bool running = x && write_handles_is_running(&x->handles);
	bool open = i->handles > 0 || i->opening > 0, evicting = i->evicting;
	bool sealed = x && x->seals;
	if (!running && !open && !sealed && !evicting) {
		i->evicting = x ? EVICTION_COUNTED : EVICTION;
		if (x && write_handles_get(&x->handles) < 0)
			g_assert_not_reached(); /* nothing is open */
	}
	pthread_mutex_unlock(&i->lock);
	if (running)
		return refuse(out, ETXTBSY, "running");
	if (open || evicting)
		return refuse(out, EBUSY, open ? "open" : "being evicted by somebody else");
	if (sealed)
		return refuse(out, EPERM, "sealed");
	backing_drop(s->backing, i);
	if (!is_mapped(s, i))
		return true;
	evict_end(s, i);
	return refuse(out, EBUSY, "mapped");
}

/* Under evict_begin(). */
static int evict_bytes(struct server *s, struct inode *i, uint64_t *freed)
{
	struct content *c = inode_open_content(s, i);
	int err = content_open(c);
	if (err == 0)
		err = content_evict(c, freed);
	pthread_mutex_lock(&i->lock);
	i->complete = err == 0 && content_complete(c);
	pthread_mutex_unlock(&i->lock);
	content_unref(c);
	return -err;
}

void evict_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){0};
	if (!S_ISREG(i->type) || i->born || !evict_begin(s, i, out))
		return;
	out->error = evict_bytes(s, i, &out->bytes);
	evict_end(s, i);
}

struct asking_source { /* one stat of the source, waited for */
	struct source_stat stat;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool done;
	int error;
};

static void asked(struct source_request *r, const GError *error)
{
	struct asking_source *a = (struct asking_source *)r;
	pthread_mutex_lock(&a->lock);
	a->done = true;
	a->error = fetch_error_errno(error, true);
	pthread_cond_signal(&a->answered);
	pthread_mutex_unlock(&a->lock);
}

static int ask_source(struct server *s, const char *remote, struct source_stat *out)
{
	struct asking_source a = {.stat = {.base = {.path = (char *)remote, .done = asked}},
	                          .lock = PTHREAD_MUTEX_INITIALIZER,
	                          .answered = PTHREAD_COND_INITIALIZER};
	source_stat(s->source, &a.stat);
	pthread_mutex_lock(&a.lock);
	while (!a.done)
		pthread_cond_wait(&a.answered, &a.lock);
	pthread_mutex_unlock(&a.lock);
	*out = a.stat;
	return a.error;
}

/* Inode and listing say what the source says. */
static void take_version(struct server *s, struct inode *i, const struct source_stat *st)
{
	uint32_t index;
	struct listing *l = inode_listed(s, i, &index);
	if (l) {
		directory_resolve(inode_open_directory(s, i->parent), l, index, st->size,
		                  st->mtime_known, st->mtime_ns);
		listing_unref(l);
	}
	pthread_mutex_lock(&i->lock);
	i->size = st->size;
	if (st->mtime_known)
		i->mtime_ns = st->mtime_ns;
	i->complete = st->size == 0;
	i->keep_cache = false;
	i->outdated = false;
	pthread_mutex_unlock(&i->lock);
	notifier_inode(s->notifier, inode_id(i), true);
}

/* Where it comes from, also where all of it is ours; NULL: made here. */
static char *origin_of(struct server *s, struct inode *i)
{
	struct tree_node node;
	if (!i->born)
		return inode_remote(s, i);
	g_autofree char *path = inode_path(s, i);
	if (tree_look(s->store, path, &node) != 0)
		return NULL;
	char *remote = g_steal_pointer(&node.remote);
	tree_node_clear(&node);
	return remote;
}

/* What is here of it: the version it follows; 0: nothing. */
static source_version version_here(struct server *s, struct inode *i, int *error)
{
	struct content *c = inode_open_content(s, i);
	source_version version = 0;
	*error = -content_open(c);
	if (*error == 0)
		version = content_version(c);
	content_unref(c);
	return version;
}

void refresh_file(struct server *s, struct inode *i, struct leaving *out)
{
	*out = (struct leaving){0};
	if (S_ISDIR(i->type)) {
		directory_expire(inode_open_directory(s, i));
		fuse_lowlevel_notify_inval_inode(s->session, inode_id(i), 0, 0);
		return;
	}
	g_autofree char *remote = S_ISREG(i->type) ? origin_of(s, i) : NULL;
	struct source_stat st;
	source_version version = remote ? version_here(s, i, &out->error) : 0;
	if (version == 0 || out->error)
		return;
	out->error = ask_source(s, remote, &st);
	if (out->error || st.version == version)
		return;
	out->newer = true;
	if (i->local) {
		refuse(out, EEXIST, "changed here, too");
		return;
	}
	if (!evict_begin(s, i, out))
		return;
	out->error = evict_bytes(s, i, &out->bytes);
	if (out->error == 0)
		take_version(s, i, &st);
	evict_end(s, i);
}
