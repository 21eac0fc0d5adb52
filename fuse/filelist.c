/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fts.h>
#include <sys/stat.h>
#include "fuse/filelist.h"

struct identity {
	guint64 ino, dev;
};

static guint identity_hash(gconstpointer p)
{
	const struct identity *i = p;
	return g_int64_hash(&i->ino) ^ g_int64_hash(&i->dev);
}

static gboolean identity_equal(gconstpointer a, gconstpointer b)
{
	const struct identity *x = a, *y = b;
	return x->ino == y->ino && x->dev == y->dev;
}

static void entry_clear(void *data)
{
	g_free(((struct filelist_entry *)data)->path);
}

struct filelist *filelist_new(void)
{
	struct filelist *l = g_new0(struct filelist, 1);
	l->entries = g_array_new(FALSE, FALSE, sizeof(struct filelist_entry));
	g_array_set_clear_func(l->entries, entry_clear);
	l->seen = g_hash_table_new_full(identity_hash, identity_equal, g_free, NULL);
	return l;
}

void filelist_free(struct filelist *l)
{
	g_array_unref(l->entries);
	g_hash_table_unref(l->seen);
	g_free(l);
}

static void list_add(struct filelist *l, const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return;
	struct identity *i = g_new(struct identity, 1);
	*i = (struct identity){st->st_ino, st->st_dev};
	if (!g_hash_table_add(l->seen, i))
		return; /* a hard link, or named twice */
	struct filelist_entry entry = {g_strdup(path), (uint64_t)st->st_size, st->st_dev,
	                               st->st_ino};
	g_array_append_val(l->entries, entry);
	l->bytes += entry.size;
}

/* Why an entry cannot be looked at, 0 = it can. */
static int entry_code(const FTSENT *e)
{
	switch (e->fts_info) {
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return e->fts_errno;
	case FTS_SLNONE: /* only as an argument: within the tree links are left alone */
		return e->fts_level == FTS_ROOTLEVEL ? ENOENT : 0;
	default:
		return 0;
	}
}

void filelist_walk(struct filelist *l, char **paths, const struct filelist_ops *ops, void *user)
{
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_XDEV | FTS_NOCHDIR, NULL);
	FTSENT *e = NULL;
	if (!fts) {
		l->errors++;
		ops->failed(user, paths[0], errno);
		return;
	}
	bool wanted;
	while ((wanted = ops->walking(user, l)) && (errno = 0, e = fts_read(fts))) {
		int code = entry_code(e);
		if (e->fts_info == FTS_F)
			list_add(l, e->fts_path, e->fts_statp);
		if (code) {
			l->errors++;
			ops->failed(user, e->fts_path, code);
		}
	}
	if (wanted && errno && errno != EINTR) {
		l->errors++;
		ops->failed(user, paths[0], errno);
	}
	fts_close(fts);
}
