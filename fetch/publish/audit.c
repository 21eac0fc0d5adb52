/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/audit.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fetch/base/path.h"
#include "fetch/publish/version.h"

#define PIECE (UINT64_C(4) << 20) /* of a file, for one thread */
#define TICK_NS 100000000
#define DEPTH_MAX 8192u /* of directories; 300 bytes of stack each */

struct auditing {
	const struct audit_options *options;
	struct index *index; /* owned */
	int root, folder;    /* owned; of the tree, and where .lacuna is */
	unsigned threads;
	struct audit_totals totals; /* atomic, each */
	bool ended;                 /* atomic */
	struct mutex lock;
	struct condition changed;
	/* under lock: */
	unsigned working;
	GError *error;     /* owned */
	GHashTable *wrong; /* char * path, owned */
};

/* All walk the whole index, and each checks every piece whose turn is its own: there is no queue
 * that could grow, and a large file is shared. A walk costs 1 us a name. */
struct worker {
	struct auditing *audit;
	unsigned number;
	uint64_t piece;  /* counts them, in the order of the walk */
	GString *path;   /* owned; of the name that is visited */
	uint64_t nid;    /* of its directory */
	unsigned depth;  /* of it */
	uint8_t *buffer; /* owned */
};

static void finding(struct auditing *a, const char *path, const char *format, ...)
        G_GNUC_PRINTF(3, 4);
static void finding(struct auditing *a, const char *path, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *what = g_strdup_vprintf(format, args);
	va_end(args);
	mutex_lock(&a->lock);
	if (g_hash_table_add(a->wrong, g_strdup(path))) {
		__atomic_add_fetch(&a->totals.wrong, 1, __ATOMIC_RELAXED);
		a->options->found(a->options->user, path, what);
	}
	mutex_unlock(&a->lock);
}

static bool piece_read(struct worker *w, const char *path, int fd, uint64_t offset, uint64_t length)
{
	for (uint64_t got = 0; got < length;) {
		ssize_t n = pread(fd, w->buffer + got, length - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			finding(w->audit, path, "%s",
			        n < 0 ? g_strerror(errno) : "shorter than when it was looked at");
			return false;
		}
		got += (uint64_t)n;
	}
	return true;
}

static bool is_zeros(const uint8_t *data, uint64_t length)
{
	return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

/* `expected` NULL: a hole. */
static void block_compare(struct worker *w, const char *path, uint64_t offset, const uint8_t *data,
                          uint64_t length, const struct digest *expected)
{
	struct digest is;
	if (expected == NULL && is_zeros(data, length))
		return;
	digest_of(data, length, &is);
	if (expected != NULL && digest_equal(expected, &is))
		return;
	g_autofree char *must = expected != NULL ? digest_text(expected) : g_strdup("zeros");
	g_autofree char *found = digest_text(&is);
	finding(w->audit, path,
	        "block %" G_GUINT64_FORMAT " (bytes %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
	        "): expected %s%s, found sha256:%s",
	        offset / DIGEST_BLOCK, offset, offset + length - 1,
	        expected != NULL ? "sha256:" : "", must, found);
}

/* false: the index is wrong. */
static bool piece_check(struct worker *w, const struct index_node *n, int fd, uint64_t offset,
                        GError **error)
{
	uint64_t length = MIN(PIECE, n->size - offset);
	struct digest expected;
	bool hole;
	if (!piece_read(w, w->path->str, fd, offset, length))
		return true;
	for (uint64_t at = 0; at < length; at += DIGEST_BLOCK) {
		if (!index_block(w->audit->index, n, offset + at, &hole, &expected, error))
			return false;
		block_compare(w, w->path->str, offset + at, w->buffer + at,
		              MIN(DIGEST_BLOCK, length - at), hole ? NULL : &expected);
	}
	__atomic_add_fetch(&w->audit->totals.bytes_done, length, __ATOMIC_RELAXED);
	return true;
}

/* A descriptor; -1: it was found to be no such file. */
static int file_open(struct worker *w, int root, const char *path, uint64_t size)
{
	struct stat st = {0};
	int fd = path_open(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	int err = fd < 0 ? -fd : fstat(fd, &st) < 0 ? errno : 0;
	if (err == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		return fd;
	if (err != 0)
		finding(w->audit, path, "%s", g_strerror(err));
	else if (!S_ISREG(st.st_mode))
		finding(w->audit, path, "not a regular file");
	else
		finding(w->audit, path,
		        "has %" G_GUINT64_FORMAT " bytes, expected %" G_GUINT64_FORMAT,
		        (uint64_t)st.st_size, size);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool turn_take(struct worker *w)
{
	return w->piece++ % w->audit->threads == w->number;
}

/* An empty file has one piece, too: it must be there. */
static bool file_check(struct worker *w, const struct index_node *n, GError **error)
{
	int fd = -1;
	bool ok = true, seen = false;
	for (uint64_t at = 0; ok && (at == 0 || at < n->size); at += PIECE) {
		bool last = n->size <= PIECE || at >= n->size - PIECE;
		if (!turn_take(w) || __atomic_load_n(&w->audit->ended, __ATOMIC_RELAXED))
			continue;
		fd = seen ? fd : file_open(w, w->audit->root, w->path->str, n->size);
		seen = true;
		if (fd >= 0 && n->size > 0)
			ok = piece_check(w, n, fd, at, error);
		__atomic_add_fetch(&w->audit->totals.files_done, last, __ATOMIC_RELAXED);
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool too_deep(GError **error)
{
	g_set_error(error, FETCH_ERROR, FETCH_PROTOCOL, "the index has more than %u levels",
	            DEPTH_MAX);
	return false;
}

static bool visit(void *user, const struct index_name *name, GError **error)
{
	struct worker *w = user;
	struct index *x = w->audit->index;
	struct index_node n;
	size_t before = w->path->len;
	uint64_t directory = w->nid;
	bool ok = index_node(x, name->nid, &n, error);
	if (before > 0)
		g_string_append_c(w->path, '/');
	g_string_append_len(w->path, name->name, (gssize)name->length);
	if (ok && S_ISREG(n.mode))
		ok = file_check(w, &n, error);
	if (ok && S_ISDIR(n.mode)) {
		w->nid = n.nid;
		ok = ++w->depth < DEPTH_MAX ? index_list(x, &n, directory, visit, w, error)
		                            : too_deep(error);
		w->nid = directory;
		w->depth--;
	}
	g_string_truncate(w->path, before);
	return ok && !__atomic_load_n(&w->audit->ended, __ATOMIC_RELAXED);
}

/* ---- packs ---- */

static bool object_check(struct worker *w, const struct index_pack *p, const char *path,
                         GError **error)
{
	int fd = file_open(w, w->audit->folder, path, p->size);
	bool ok = true;
	for (uint64_t at = 0; fd >= 0 && ok && at < p->size; at += PIECE) {
		uint64_t length = MIN(PIECE, p->size - at);
		if (!piece_read(w, path, fd, at, length))
			break;
		for (uint64_t n = 0; ok && n < length; n += DIGEST_BLOCK) {
			struct digest expected;
			ok = index_pack_block(w->audit->index, p, (at + n) / DIGEST_BLOCK,
			                      &expected, error);
			if (ok)
				block_compare(w, path, at + n, w->buffer + n,
				              MIN(DIGEST_BLOCK, length - n), &expected);
		}
		__atomic_add_fetch(&w->audit->totals.bytes_done, length, __ATOMIC_RELAXED);
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool objects_check(struct worker *w, GError **error)
{
	struct index *x = w->audit->index;
	for (uint32_t n = 0; n < index_tail(x)->object_count; n++) {
		struct index_pack p;
		if (!turn_take(w) || __atomic_load_n(&w->audit->ended, __ATOMIC_RELAXED))
			continue;
		if (!index_pack(x, n, &p, error))
			return false;
		g_autofree char *id = digest_text(&p.id);
		g_autofree char *path = g_strconcat(OBJECT_FOLDER "/", id, NULL);
		if (!object_check(w, &p, path, error))
			return false;
	}
	return true;
}

static bool walk(struct worker *w, GError **error)
{
	struct index_node top;
	if (!index_top(w->audit->index, &top, error))
		return false;
	w->nid = top.nid;
	return index_list(w->audit->index, &top, top.nid, visit, w, error) &&
	       objects_check(w, error);
}

static void *worker_main(void *user)
{
	struct worker *w = user;
	struct auditing *a = w->audit;
	g_autoptr(GError) error = NULL;
	w->path = g_string_new(NULL);
	w->buffer = g_malloc(PIECE);
	walk(w, &error);
	g_string_free(w->path, TRUE);
	g_free(w->buffer);
	if (error != NULL)
		__atomic_store_n(&a->ended, true, __ATOMIC_RELAXED);
	mutex_lock(&a->lock);
	a->working--;
	if (a->error == NULL)
		a->error = g_steal_pointer(&error);
	condition_broadcast(&a->changed);
	mutex_unlock(&a->lock);
	return NULL;
}

static void totals_read(struct auditing *a, struct audit_totals *out)
{
	*out = (struct audit_totals){
	        .files = a->totals.files,
	        .bytes = a->totals.bytes,
	        .files_done = __atomic_load_n(&a->totals.files_done, __ATOMIC_RELAXED),
	        .bytes_done = __atomic_load_n(&a->totals.bytes_done, __ATOMIC_RELAXED),
	        .wrong = __atomic_load_n(&a->totals.wrong, __ATOMIC_RELAXED),
	};
}

/* Until all workers have ended. */
static void audit_watch(struct auditing *a)
{
	struct audit_totals so_far;
	mutex_lock(&a->lock);
	while (a->working > 0) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TICK_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		condition_wait_until(&a->changed, &a->lock, &until);
		totals_read(a, &so_far);
		if (!__atomic_load_n(&a->ended, __ATOMIC_RELAXED) &&
		    !a->options->goes_on(a->options->user, &so_far)) {
			__atomic_store_n(&a->ended, true, __ATOMIC_RELAXED);
			if (a->error == NULL)
				a->error = g_error_new_literal(FETCH_ERROR, FETCH_CANCELLED,
				                               "interrupted");
		}
	}
	mutex_unlock(&a->lock);
}

static void workers_run(struct auditing *a)
{
	g_autofree struct worker *workers = g_new0(struct worker, a->threads);
	g_autofree pthread_t *ids = g_new0(pthread_t, a->threads);
	g_autofree bool *started = g_new0(bool, a->threads);
	a->working = a->threads;
	for (unsigned n = 0; n < a->threads; n++) {
		workers[n] = (struct worker){.audit = a, .number = n};
		started[n] = pthread_create(&ids[n], NULL, worker_main, &workers[n]) == 0;
		/* its turns are nobody else's */
		if (!started[n])
			worker_main(&workers[n]);
	}
	audit_watch(a);
	for (unsigned n = 0; n < a->threads; n++)
		if (started[n])
			pthread_join(ids[n], NULL);
}

static bool tree_open(struct auditing *a, struct head *head, GError **error)
{
	const struct audit_options *o = a->options;
	const char *output = o->output != NULL ? o->output : o->directory;
	g_autofree char *folder = g_build_filename(output, INDEX_FOLDER, NULL);
	a->root = open(o->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->root < 0) {
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", o->directory, g_strerror(errno));
		return false;
	}
	a->index = version_open(folder, head, error);
	if (a->index == NULL || !index_verify(a->index, error))
		return false;
	a->folder = open(output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->folder < 0)
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", output, g_strerror(errno));
	return a->folder >= 0;
}

/* Of the files, and of the packs. */
static bool totals_begin(struct auditing *a, GError **error)
{
	const struct index_tail *t = index_tail(a->index);
	struct index_pack p;
	a->totals.files = t->files;
	a->totals.bytes = t->bytes;
	for (uint32_t n = 0; n < t->object_count; n++) {
		if (!index_pack(a->index, n, &p, error))
			return false;
		a->totals.bytes += p.size;
	}
	return true;
}

bool audit(const struct audit_options *options, struct head *head, struct audit_totals *totals,
           GError **error)
{
	struct auditing a = {
	        .options = options, .root = -1, .folder = -1, .threads = options->threads};
	bool ok = tree_open(&a, head, error) && totals_begin(&a, error);
	if (a.threads == 0)
		a.threads = (unsigned)MAX(g_get_num_processors(), 1);
	if (ok) {
		a.wrong = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
		mutex_init(&a.lock, RANK_PUBLISH);
		condition_init(&a.changed);
		workers_run(&a);
		condition_destroy(&a.changed);
		mutex_destroy(&a.lock);
		g_hash_table_unref(a.wrong);
		totals_read(&a, totals);
		ok = a.error == NULL;
		if (!ok)
			g_propagate_error(error, a.error);
	}
	index_unref(a.index);
	if (a.root >= 0)
		close(a.root);
	if (a.folder >= 0)
		close(a.folder);
	return ok;
}
