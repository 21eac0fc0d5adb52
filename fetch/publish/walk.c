/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/dirents.h"
#include "fetch/base/path.h"
#include "fetch/index/format.h"
#include "fetch/publish/node.h"

/* A directory whose subdirectories are walked, one after the other. */
struct level {
	char *path;      /* owned */
	GString *names;  /* owned; of the subdirectories, NUL after each */
	size_t at;       /* the next one in it */
	uint32_t number; /* of this one */
	uint32_t next;   /* number of the next one */
};

/* The names of one directory. */
struct names {
	GString *text;  /* owned; each with its NUL */
	GArray *places; /* owned; size_t into text, in order of the names */
};

struct walk {
	struct plan *plan;
	int root;          /* borrowed */
	GPtrArray *levels; /* struct level, owned */
	GByteArray *xattrs;
	GArray *runs;
	GString *path; /* of the name being recorded */
	char target[PATH_MAX];
};

static void level_free(void *level)
{
	struct level *l = level;
	g_free(l->path);
	g_string_free(l->names, TRUE);
	g_free(l);
}

static const char *names_at(const struct names *n, guint i)
{
	return n->text->str + g_array_index(n->places, size_t, i);
}

static int compare(const void *a, const void *b, void *text)
{
	const char *names = text;
	return strcmp(names + *(const size_t *)a, names + *(const size_t *)b);
}

static bool names_read(struct names *n, int fd, const char *path, GError **error)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), more;
	if (copy < 0)
		return node_fail(error, path, errno);
	struct dirents *dirents = dirents_new(copy);
	struct dirent *e;
	while ((more = dirents_next(dirents, &e)) > 0) {
		if (path[0] == '\0' && strcmp(e->d_name, INDEX_FOLDER) == 0)
			continue;
		size_t place = n->text->len;
		g_string_append_len(n->text, e->d_name, (gssize)strlen(e->d_name) + 1);
		g_array_append_val(n->places, place);
	}
	dirents_free(dirents);
	if (more < 0)
		return node_fail(error, path, -more);
	g_qsort_with_data(n->places->data, (gint)n->places->len, sizeof(size_t), compare,
	                  n->text->str);
	return true;
}

/* The directory's size, with "." and "..", which take their places in the order. */
static uint64_t names_size(const struct names *n)
{
	struct packing p = {0};
	const char *dots[] = {".", "..", NULL}, **dot = dots;
	for (guint i = 0; i < n->places->len; i++) {
		const char *name = names_at(n, i);
		for (; *dot != NULL && strcmp(*dot, name) < 0; dot++)
			packing_add(&p, strlen(*dot));
		packing_add(&p, strlen(name));
	}
	for (; *dot != NULL; dot++)
		packing_add(&p, strlen(*dot));
	return packing_size(&p);
}

static bool add(struct walk *w, const void *data, size_t size, GError **error)
{
	return size == 0 ||
	       (spill_add(w->plan->spill, data, size, error) && spill_pad(w->plan->spill, error));
}

static bool xattrs_read(struct walk *w, int fd, const char *name, struct spill_inode *i,
                        GError **error)
{
	if (!xattr_pool_body(w->plan->pool, fd, name, w->path->str, w->xattrs, error))
		return false;
	i->xattr_size = w->xattrs->len;
	return true;
}

/* Gives the inode its place, with all that the image will have of it. */
static bool entry_place(struct walk *w, int fd, const char *name, const struct statx *st,
                        struct spill_entry *e, GError **error)
{
	const char *path = w->path->str;
	size_t length;
	if (!xattrs_read(w, fd, name, &e->inode, error))
		return false;
	if (S_ISREG(st->stx_mode)) {
		if (!node_chunks(fd, name, path, st, &e->inode, w->runs, error))
			return false;
		e->runs = w->runs->len;
		return plan_file(w->plan, &e->inode, w->runs, error);
	}
	if (!S_ISLNK(st->stx_mode))
		return plan_special(w->plan, &e->inode, error);
	if (!node_target(fd, name, path, w->target, &length, error))
		return false;
	e->target_size = (uint16_t)(length + 1);
	return plan_flat(w->plan, &e->inode, length, error);
}

/* A further name of a file that was met before; false: it is the first. *number: SPILL_NO_LINK for
 * a file of one name. */
static bool entry_is_link(struct walk *w, const struct statx *st, uint32_t *number, uint64_t *nid)
{
	uint64_t device = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor;
	*number = SPILL_NO_LINK;
	if (st->stx_nlink < 2)
		return false;
	*number = link_table_add(w->plan->links, device, st->stx_ino, nid);
	return *number != SPILL_NO_LINK && *nid != 0;
}

static bool entry_write(struct walk *w, const struct spill_entry *e, const char *name,
                        GError **error)
{
	return add(w, e, sizeof(*e), error) && add(w, name, e->name_size, error) &&
	       add(w, w->xattrs->data, w->xattrs->len, error) &&
	       add(w, w->target, e->target_size, error) &&
	       add(w, w->runs->data, e->runs * sizeof(struct spill_run), error);
}

static bool entry_record(struct walk *w, int fd, const char *name, struct level *level,
                         GError **error)
{
	struct spill_entry e = {.number = SPILL_NO_LINK, .name_size = (uint16_t)(strlen(name) + 1)};
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	struct statx st;
	uint64_t nid = 0;
	g_byte_array_set_size(w->xattrs, 0);
	if (statx(fd, name, flags, NODE_STATX, &st) < 0)
		return node_fail(error, w->path->str, errno);
	node_inode(&st, w->path->str, &e.inode);
	e.ino = st.stx_ino;
	e.ctime_seconds = st.stx_ctime.tv_sec;
	e.ctime_nanoseconds = st.stx_ctime.tv_nsec;
	if (S_ISDIR(st.stx_mode)) {
		e.kind = SPILL_DIRECTORY;
		e.number = w->plan->nids->len;
		g_array_append_val(w->plan->nids, nid); /* placed when it is walked */
		g_string_append_len(level->names, name, e.name_size);
		return entry_write(w, &e, name, error);
	}
	w->plan->files++;
	if (entry_is_link(w, &st, &e.number, &nid)) {
		e.kind = SPILL_LINK;
		e.inode.nid = nid;
		return entry_write(w, &e, name, error);
	}
	if (!entry_place(w, fd, name, &st, &e, error))
		return false;
	if (e.number != SPILL_NO_LINK)
		link_table_set(w->plan->links, e.number, e.inode.nid);
	return entry_write(w, &e, name, error);
}

static bool entries_record(struct walk *w, int fd, const struct names *names, struct level *level,
                           GError **error)
{
	g_string_assign(w->path, level->path);
	if (w->path->len > 0)
		g_string_append_c(w->path, '/');
	size_t prefix = w->path->len;
	for (guint i = 0; i < names->places->len; i++) {
		g_string_truncate(w->path, prefix);
		g_string_append(w->path, names_at(names, i));
		if (!entry_record(w, fd, names_at(names, i), level, error))
			return false;
	}
	return true;
}

static bool directory_head(struct walk *w, int fd, const struct names *names,
                           const struct level *level, struct spill_directory *d, GError **error)
{
	struct statx st;
	if (statx(fd, "", AT_EMPTY_PATH, NODE_STATX, &st) < 0)
		return node_fail(error, level->path, errno);
	g_string_assign(w->path, level->path);
	node_inode(&st, level->path, &d->inode);
	if (!xattrs_read(w, fd, "", &d->inode, error) ||
	    !plan_flat(w->plan, &d->inode, names_size(names), error))
		return false;
	g_array_index(w->plan->nids, uint64_t, d->number) = d->inode.nid;
	return true;
}

static bool directory_record(struct walk *w, int fd, uint32_t parent, struct level *level,
                             GError **error)
{
	struct names names = {g_string_new(NULL), g_array_new(FALSE, FALSE, sizeof(size_t))};
	struct spill *s = w->plan->spill;
	struct spill_directory d = {.number = level->number,
	                            .parent = parent,
	                            .path_size = (uint32_t)strlen(level->path) + 1};
	uint64_t at = spill_size(s);
	bool ok = names_read(&names, fd, level->path, error);
	d.entries = names.places->len;
	level->next = w->plan->nids->len;
	ok = ok && directory_head(w, fd, &names, level, &d, error) &&
	     add(w, &d, sizeof(d), error) && add(w, level->path, d.path_size, error) &&
	     add(w, w->xattrs->data, w->xattrs->len, error) &&
	     entries_record(w, fd, &names, level, error);
	g_string_free(names.text, TRUE);
	g_array_free(names.places, TRUE);
	if (!ok)
		return false;
	d.inode.nlink = 2 + (w->plan->nids->len - level->next);
	d.bytes = spill_size(s) - at - sizeof(d);
	return spill_set(s, at, &d, sizeof(d), error);
}

/* Walks the directory at `path` (taken) and makes it the last level. */
static bool level_enter(struct walk *w, char *path, uint32_t number, uint32_t parent,
                        GError **error)
{
	struct level *l = g_new0(struct level, 1);
	l->path = path;
	l->number = number;
	l->names = g_string_new(NULL);
	g_ptr_array_add(w->levels, l);
	int fd = path_open(w->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return node_fail(error, path, -fd);
	bool ok = directory_record(w, fd, parent, l, error);
	close(fd);
	return ok;
}

static bool levels_walk(struct walk *w, bool (*goes_on)(void *user), void *user, GError **error)
{
	uint64_t nid = 0;
	g_array_append_val(w->plan->nids, nid);
	bool ok = level_enter(w, g_strdup(""), 0, 0, error);
	while (ok && w->levels->len > 0) {
		struct level *l = w->levels->pdata[w->levels->len - 1];
		const char *name = l->names->str + l->at;
		if (l->at == l->names->len) {
			g_ptr_array_remove_index(w->levels, w->levels->len - 1);
			continue;
		}
		l->at += strlen(name) + 1;
		char *path =
		        l->path[0] != '\0' ? g_strconcat(l->path, "/", name, NULL) : g_strdup(name);
		ok = level_enter(w, path, l->next++, l->number, error);
		if (ok && !goes_on(user)) {
			g_set_error(error, FETCH_ERROR, FETCH_CANCELLED, "interrupted");
			ok = false;
		}
	}
	return ok;
}

bool walk_tree(struct plan *p, int root, bool (*goes_on)(void *user), void *user, GError **error)
{
	struct walk w = {
	        .plan = p,
	        .root = root,
	        .levels = g_ptr_array_new_with_free_func(level_free),
	        .xattrs = g_byte_array_new(),
	        .runs = g_array_new(FALSE, FALSE, sizeof(struct spill_run)),
	        .path = g_string_new(NULL),
	};
	bool ok = levels_walk(&w, goes_on, user, error) && spill_map(p->spill, error);
	g_ptr_array_free(w.levels, TRUE);
	g_byte_array_unref(w.xattrs);
	g_array_free(w.runs, TRUE);
	g_string_free(w.path, TRUE);
	return ok;
}
