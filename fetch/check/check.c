/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fetch/base/path.h"
#include "fetch/check/check_private.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/epoch_disk.h"

#define LOOKS 4 /* at an object of a live store */

static void finding_free(void *data)
{
	struct check_finding *f = data;

	g_free((char *)f->path);
	g_free((char *)f->what);
	g_free((char *)f->remedy);
	g_free(f);
}

static void note(struct check *c, struct check_finding *f)
{
	f->path = g_strdup(c->path->str);
	g_ptr_array_add(c->pending, f);
}

void check_found(struct check *c, bool repaired, const char *remedy, const char *format, ...)
{
	struct check_finding *f = g_new0(struct check_finding, 1);
	va_list args;

	va_start(args, format);
	f->what = g_strdup_vprintf(format, args);
	va_end(args);
	f->repaired = repaired;
	f->remedy = g_strdup(remedy);
	note(c, f);
}

/* An object that vanished during a live check is skipped. */
void check_unread(struct check *c, int err)
{
	struct check_finding *f;

	if (err == -ENOENT && c->options->live)
		return;
	f = g_new0(struct check_finding, 1);
	f->what = g_strdup_printf("could not be checked: %s", g_strerror(-err));
	f->unread = true;
	note(c, f);
}

/* Files of a copy are bound to their records by its first mount. */
static void copy_tell(struct check *c)
{
	struct check_finding *f = g_new0(struct check_finding, 1);

	g_string_assign(c->path, "state/lock");
	f->what = g_strdup("the store was copied or moved, and its files are not checked: mount it "
	                   "once, then verify it again");
	f->unread = true;
	note(c, f);
	check_settle(c, false);
}

void check_settle(struct check *c, bool drop)
{
	for (guint n = 0; n < c->pending->len && !drop; n++) {
		const struct check_finding *f = c->pending->pdata[n];

		c->totals.unread += f->unread;
		c->totals.damaged += !f->unread;
		c->totals.repaired += f->repaired;
		c->ops->found(c->user, f);
	}
	g_ptr_array_set_size(c->pending, 0);
}

bool check_goes_on(struct check *c)
{
	if (!c->stopped && !c->ops->goes_on(c->user, &c->totals))
		c->stopped = true;
	c->asked = c->totals.bytes;
	return !c->stopped;
}

bool check_repairs(const struct check *c)
{
	return c->options->repair && !c->options->live;
}

static void object(struct check *c, const struct place *p)
{
	struct stat st;

	for (int look = 0; look < LOOKS; look++) {
		if (look > 0) {
			check_settle(c, true);
			g_usleep(PAUSE_US);
		}
		if (fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			check_unread(c, -errno);
			break;
		}
		check_object(c, p, &st);
		if (!c->options->live || c->pending->len == 0 || c->stopped)
			break;
	}
	c->totals.objects++;
	check_settle(c, c->stopped);
}

struct check_walk {
	struct check *check;
	GPtrArray *pending; /* owned paths of directories; a tree may be deeper than a process has
	                     * descriptors */
};

static int walk_entry(int fd, struct dirent *e, void *user)
{
	struct check_walk *w = user;
	struct check *c = w->check;
	gsize length = c->path->len;
	struct place p;
	struct stat st;

	g_string_append_printf(c->path, "/%s", e->d_name);
	place_at(fd, e->d_name, &p);
	if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		g_ptr_array_add(w->pending, g_strdup(c->path->str));
	object(c, &p);
	g_string_truncate(c->path, length);
	return check_goes_on(c) ? 0 : 1;
}

static void walk_files(struct check *c)
{
	struct check_walk w = {.check = c, .pending = g_ptr_array_new_with_free_func(g_free)};

	g_ptr_array_add(w.pending, g_strdup("tree"));
	if (faccessat(c->store->state, "packs", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		g_ptr_array_add(w.pending, g_strdup("state/packs"));
	while (!c->stopped && w.pending->len > 0) {
		g_autofree char *path = g_ptr_array_steal_index(w.pending, w.pending->len - 1);
		int err;

		g_string_assign(c->path, path);
		err = entries_foreach(
		        path_open(c->store->dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		        walk_entry, &w);
		if (err < 0) {
			g_string_assign(c->path, path);
			check_unread(c, err);
			check_settle(c, false);
		}
	}
	g_ptr_array_unref(w.pending);
}

/* As identity.c: is this the place that the store was last in? */
static bool is_elsewhere(struct store *s)
{
	struct place_disk then;
	uint64_t lock, tree;

	return fgetxattr(s->lock, PLACE_XATTR, &then, sizeof then) != sizeof then ||
	       origin_key(s->state, "lock", &lock) < 0 || origin_key(s->dir, "tree", &tree) < 0 ||
	       GUINT64_FROM_LE(then.lock) != lock || GUINT64_FROM_LE(then.tree) != tree;
}

bool check_store(struct store *s, const struct check_options *options, const struct check_ops *ops,
                 void *user, struct check_totals *out)
{
	struct epoch_disk epoch = {0};
	struct check c = {
	        .store = s,
	        .options = options,
	        .ops = ops,
	        .user = user,
	        .elsewhere = is_elsewhere(s),
	        .path = g_string_new(NULL),
	        .pending = g_ptr_array_new_with_free_func(finding_free),
	};

	epoch_disk_read(s->state, &epoch);
	c.epoch = options->live ? s->epoch.number : epoch.number;
	check_state(&c);
	if (c.elsewhere)
		copy_tell(&c);
	if (!c.stopped)
		walk_files(&c);
	g_string_free(c.path, TRUE);
	g_ptr_array_unref(c.pending);
	*out = c.totals;
	return !c.stopped;
}

static bool fail(GError **error, const char *path, int err)
{
	g_set_error(error, LOCAL_ERROR, err, "store %s: %s", path, g_strerror(err));
	return false;
}

static bool lock_take(struct store *s, GError **error)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[24] = "";

	s->lock = openat(s->state, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s->lock < 0)
		return fail(error, s->path, errno);
	if (fcntl(s->lock, F_OFD_SETLK, &whole) == 0)
		return true;
	if (errno != EAGAIN && errno != EACCES)
		return fail(error, s->path, errno);
	if (pread(s->lock, text, sizeof text - 1, 0) < 0)
		text[0] = '\0';
	g_set_error(error, LOCAL_ERROR, EBUSY,
	            "store %s is in use by process %" PRIu64 "; verify its mount, or unmount it",
	            s->path, g_ascii_strtoull(text, NULL, 10));
	return false;
}

/* The members that reading needs. */
struct store *check_open(const char *path, GError **error)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	struct store *s = g_new0(struct store, 1);

	s->path = g_strdup(path);
	s->state = s->tree = s->tmp = s->lock = -1;
	s->dir = open(path, flags);
	if (s->dir >= 0)
		s->state = openat(s->dir, "state", flags | O_NOFOLLOW);
	if (s->state >= 0)
		s->tree = openat(s->dir, "tree", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->tree >= 0 && faccessat(s->state, "lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		if (lock_take(s, error))
			return s;
	} else if (s->dir < 0 || errno == EACCES || errno == EMFILE) {
		fail(error, path, errno);
	} else {
		g_set_error(error, LOCAL_ERROR, ENOENT, "%s is not a store", path);
	}
	check_close(s);
	return NULL;
}

void check_close(struct store *s)
{
	const int fds[] = {s->tree, s->state, s->dir, s->lock};

	for (size_t n = 0; n < G_N_ELEMENTS(fds); n++)
		if (fds[n] >= 0)
			close(fds[n]);
	g_free(s->path);
	g_free(s);
}
