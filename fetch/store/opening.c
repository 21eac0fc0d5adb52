/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fetch/store/opening.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/format.h"
#include "fetch/store/disk/pins.h"
#include "fetch/store/disk/lru.h"
#include "fetch/store/file/dirty.h"
#include "fetch/store/identity.h"
#include "fetch/store/object/object_private.h"
#include "fetch/store/tree/tree_private.h"

#define CHUNK_SHIFT_DEFAULT 16
#define OVERLAYFS_MAGIC 0x794c7630
#define ECRYPTFS_MAGIC 0xf15f

static const int DIRECTORY = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

static bool store_fail(GError **error, const char *path, int err)
{
	g_set_error(error, LOCAL_ERROR, err, "store %s: %s", path, g_strerror(err));
	return false;
}

static int is_known(int fd, struct dirent *e, void *user)
{
	const char *const *known = user;

	return g_strv_contains(known, e->d_name) ? 0 : 1;
}

/* Every name in `dir` is one of `known` (NULL-terminated)? -errno. */
static int directory_has_only(int dir, const char *const *known)
{
	int fd = openat(dir, ".", DIRECTORY);
	int other = entries_foreach(fd < 0 ? -errno : fd, is_known, (void *)known);

	return other < 0 ? other : !other;
}

static int make_directory(int dir, const char *name, mode_t mode, int flags)
{
	int fd;

	if (mkdirat(dir, name, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, flags | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Without settings: is the directory empty, or a store whose creation was interrupted? -errno. */
static int store_is_free(struct store *s)
{
	static const char *const begun[] = {"state", "tree", "lost+found", NULL};
	static const char *const state_begun[] = {"lock", "epoch",        "tmp",
	                                          "log",  "settings.new", NULL};
	static const char *const none[] = {NULL};
	int tree = openat(s->dir, "tree", DIRECTORY | O_NOFOLLOW);
	int only = directory_has_only(s->dir, begun);

	if (only > 0 && s->state >= 0)
		only = directory_has_only(s->state, state_begun);
	if (only > 0 && tree >= 0)
		only = directory_has_only(tree, none);
	if (tree >= 0)
		close(tree);
	return only;
}

/* Files in the store have the modes of the source, meant for users of the mount: the directory must
 * be closed to all other users. */
static bool store_shut(struct store *s, GError **error)
{
	struct stat st;

	if (fstat(s->dir, &st) < 0)
		return store_fail(error, s->path, errno);
	if ((st.st_mode & 077) == 0)
		return true;
	if (fchmod(s->dir, st.st_mode & 0700) == 0) {
		g_message("store %s was open to other users (mode %04o): it is closed to them now",
		          s->path, st.st_mode & 07777u);
		return true;
	}
	g_set_error(error, LOCAL_ERROR, errno,
	            "store %s is open to other users (mode %04o) and cannot be closed: %s; give it "
	            "mode 0700, or choose another --store",
	            s->path, st.st_mode & 07777u, g_strerror(errno));
	return false;
}

/* Opens STORE and STORE/state, created if there is nothing yet; a directory with other content is
 * left as it is. */
static bool open_directories(struct store *s, GError **error)
{
	int is_free = 1;

	s->created = access(s->path, F_OK) < 0;
	if (g_mkdir_with_parents(s->path, 0700) < 0 && errno != EEXIST)
		return store_fail(error, s->path, errno);
	s->dir = open(s->path, DIRECTORY);
	if (s->dir < 0)
		return store_fail(error, s->path, errno);
	s->state = openat(s->dir, "state", DIRECTORY | O_NOFOLLOW);
	if (s->state < 0 || !store_settings_exist(s->state))
		is_free = store_is_free(s);
	if (is_free < 0)
		return store_fail(error, s->path, -is_free);
	if (is_free == 0) {
		g_set_error(error, LOCAL_ERROR, ENOTEMPTY, "%s is neither empty nor a store",
		            s->path);
		return false;
	}
	if (!store_shut(s, error))
		return false;
	if (s->state < 0)
		s->state = make_directory(s->dir, "state", 0700, DIRECTORY);
	return s->state >= 0 || store_fail(error, s->path, -s->state);
}

/* In the lock's file: the pid of its holder, and whether that one is closing. */
enum { LEAVES_AT = 11, LEAVES = '-' };

void store_leave(struct store *s)
{
	const char mark = LEAVES;

	if (pwrite(s->lock, &mark, 1, LEAVES_AT) < 0)
		g_message("store %s: cannot record that the daemon is leaving: %s", s->path,
		          g_strerror(errno));
}

static bool store_in_use(struct store *s, GError **error)
{
	char text[24] = "";
	ssize_t n = pread(s->lock, text, sizeof text - 1, 0);
	g_autofree char *holder = NULL;

	if (n > 0 && g_ascii_isdigit(text[0]))
		holder = g_strdup_printf("process %" PRIu64, g_ascii_strtoull(text, NULL, 10));
	g_set_error(error, LOCAL_ERROR, n > LEAVES_AT && text[LEAVES_AT] == LEAVES ? EAGAIN : EBUSY,
	            "store %s is in use by %s; unmount that one, or choose another --store",
	            s->path, holder ? holder : "another process");
	return false;
}

static bool store_take(struct store *s, const struct store_settings *settings, GError **error)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[24];
	int n;

	if (settings->lock > 0)
		s->lock = fcntl(settings->lock, F_DUPFD_CLOEXEC, 0);
	else
		s->lock = openat(s->state, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock < 0)
		return store_fail(error, s->path, errno);
	if (fcntl(s->lock, F_OFD_SETLK, &whole) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return store_in_use(s, error);
		return store_fail(error, s->path, errno);
	}
	s->fresh = !store_settings_exist(s->state);
	/* always of one length: a store opens on a full disk, too */
	n = snprintf(text, sizeof text, "%-11ld\n",
	             (long)(settings->pid ? settings->pid : getpid()));
	if (pwrite(s->lock, text, n, 0) != n)
		g_message("store %s: cannot record the pid of this daemon", s->path);
	if (fsetxattr(s->lock, RECORD_XATTR, "", 0, 0) == 0)
		return true;
	if (errno != EOPNOTSUPP && errno != EPERM)
		return store_fail(error, s->path, errno);
	g_set_error(error, LOCAL_ERROR, errno,
	            "store %s: its file system has no user xattrs; choose another --store",
	            s->path);
	return false;
}

static int drop(int fd, struct dirent *e, void *user)
{
	unlinkat(fd, e->d_name, 0);
	return 0;
}

/* Removes the unfinished files of a daemon that died. */
static void empty_directory(int dir)
{
	int fd = openat(dir, ".", DIRECTORY);

	entries_foreach(fd < 0 ? -errno : fd, drop, NULL);
}

static bool store_start(struct store *s, struct store_settings *settings, GError **error)
{
	bool fresh = s->fresh, copied = false;
	g_autoptr(GError) unsaved = NULL;
	int err;

	if (fresh && settings->chunk_shift == 0)
		settings->chunk_shift = CHUNK_SHIFT_DEFAULT;
	if (!fresh && !store_settings_load(s->state, s->path, settings, error))
		return false;
	if (settings->changed && !store_settings_save(s->state, s->path, settings, &unsaved))
		g_message("the mirrors of the store cannot be recorded: %s", unsaved->message);
	s->chunk_shift = settings->chunk_shift;
	s->tree = make_directory(s->dir, "tree", 0700, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->tree < 0)
		return store_fail(error, s->path, -s->tree);
	s->tmp = make_directory(s->state, "tmp", 0700, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->tmp < 0)
		return store_fail(error, s->path, -s->tmp);
	empty_directory(s->tmp);
	err = fresh ? 0 : identity_check(s, &copied);
	if (err)
		return store_fail(error, s->path, -err);
	orphans_sweep(s);
	err = dirty_open(s);
	if (err)
		return store_fail(error, s->path, -err);
	err = epoch_open(&s->epoch, s->state,
	                 (fresh ? EPOCH_FRESH : 0) | (settings->end_epoch ? EPOCH_NEXT : 0) |
	                         (copied ? EPOCH_OTHER : 0));
	if (err)
		return store_fail(error, s->path, -err);
	s->epoch.tree = s->tree;
	if (copied)
		lru_drop(s);
	lru_load(s, s->epoch.clean_on_disk);
	err = pins_load(s);
	if (err == 0 && copied)
		err = epoch_begin(&s->epoch);
	if (err == 0)
		err = identity_settle(s);
	if (err) {
		epoch_close(&s->epoch);
		return store_fail(error, s->path, -err);
	}
	if (settings->lock == 0)
		tree_unlinked_sweep(s);
	if (fresh &&
	    (fsync(s->dir) < 0 || !store_settings_save(s->state, s->path, settings, error))) {
		if (error && *error == NULL)
			store_fail(error, s->path, errno);
		epoch_close(&s->epoch);
		return false;
	}
	return true;
}

static void store_free(struct store *s)
{
	const int fds[] = {s->tmp, s->tree, s->state, s->dir, s->lock};

	dirty_close(s);
	lru_clear(s);
	pins_clear(s);
	shared_clear(&s->sharing);
	for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	rwlock_destroy(&s->stamps);
	g_free(s->path);
	g_free(s);
}

static int drop_below(int fd, struct dirent *e, void *user)
{
	int err;

	if (unlinkat(fd, e->d_name, 0) == 0 || errno != EISDIR)
		return 0;
	err = entries_foreach(openat(fd, e->d_name, DIRECTORY | O_NOFOLLOW), drop_below, NULL);
	if (err == 0)
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	return err;
}

/* Removes a store that holds no work: its tree has been empty since it was created. */
static void store_undo(struct store *s)
{
	if (!s->fresh || (unlinkat(s->dir, "tree", AT_REMOVEDIR) < 0 && errno != ENOENT))
		return;
	entries_foreach(openat(s->dir, "state", DIRECTORY | O_NOFOLLOW), drop_below, NULL);
	unlinkat(s->dir, "state", AT_REMOVEDIR);
	if (s->created)
		rmdir(s->path);
}

/* A quarter of the descriptors is left for short tasks: names, connections. */
static int descriptors_for_files(void)
{
	struct rlimit limit;
	rlim_t all = getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 1024 : MIN(limit.rlim_cur, INT_MAX);

	return (int)(all - MIN(all / 4, 256));
}

struct store *store_open(const char *path, const struct store_settings *settings, GError **error)
{
	struct store *s = g_new0(struct store, 1);
	struct store_settings own = *settings;
	struct statfs fs;

	g_assert(own.chunk_shift == 0 ||
	         (own.chunk_shift >= CHUNK_SHIFT_MIN && own.chunk_shift <= CHUNK_SHIFT_MAX));
	s->path = g_strdup(path);
	rwlock_init(&s->stamps, RANK_STAMPS);
	s->fd_most = descriptors_for_files();
	dirty_init(s);
	lru_init(s);
	pins_init(s);
	shared_init(&s->sharing);
	s->dir = s->state = s->tree = s->tmp = s->lock = -1;
	s->privileged = owner_privileged();
	while (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed)
		;
	if (!open_directories(s, error) || !store_take(s, &own, error) ||
	    !store_start(s, &own, error)) {
		store_undo(s);
		store_free(s);
		return NULL;
	}
	s->links = faccessat(s->state, "links", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	s->stacked = fstatfs(s->state, &fs) == 0 && ((uint32_t)fs.f_type == OVERLAYFS_MAGIC ||
	                                             (uint32_t)fs.f_type == ECRYPTFS_MAGIC);
	return s;
}

int store_lock_fd(const struct store *s)
{
	return s->lock;
}

void store_abandon(struct store *s)
{
	close(s->lock);
}

int store_close(struct store *s)
{
	int err = g_hash_table_size(s->dirty.files) > 0 ? store_sync(s) : 0;

	store_lru_save(s);
	int ended = epoch_end(&s->epoch, s->state);

	store_free(s);
	return err ? err : ended;
}

void store_drop(struct store *s)
{
	if (!s->fresh) {
		store_close(s);
		return;
	}
	store_undo(s);
	epoch_close(&s->epoch);
	store_free(s);
}
