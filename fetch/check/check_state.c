/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The files of state/ that belong to no file of the tree. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/listing.h"
#include "fetch/base/path.h"
#include "fetch/check/check_private.h"
#include "fetch/store/disk/entries.h"
#include "fetch/store/disk/epoch_disk.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/store_settings.h"

static void settings_check(struct check *c)
{
	const char *const what[] = {
	        [SETTINGS_NO_COPY] = "its copy is damaged or missing",
	        [SETTINGS_FROM_COPY] = "damaged or missing; its copy is intact",
	        [SETTINGS_LOST] = "damaged or missing, and so is its copy",
	};
	g_autoptr(GError) error = NULL;
	enum settings_state found = store_settings_look(c->store->state, c->store->path, &error);
	bool lost = found == SETTINGS_LOST;

	g_string_assign(c->path, "state/settings");
	if (found != SETTINGS_INTACT)
		check_found(c,
		            !lost && check_repairs(c) && store_settings_mend(c->store->state) == 0,
		            lost ? "write the file anew: lacunafs(1), verify" : NULL, "%s",
		            what[found]);
	check_settle(c, false);
}

static void epoch_check(struct check *c)
{
	struct epoch_disk e = {0};
	enum epoch_state found = epoch_disk_read(c->store->state, &e);
	bool repaired = false;

	g_string_assign(c->path, "state/epoch");
	if (found == EPOCH_INTACT)
		return;
	if (check_repairs(c) && found == EPOCH_FROM_COPY) {
		int fd = openat(c->store->state, "epoch", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		                0600);

		repaired = fd >= 0 && epoch_disk_write(c->store->state, fd, &e) == 0 &&
		           fsync(c->store->state) == 0;
		if (fd >= 0)
			close(fd);
	}
	check_found(c, repaired,
	            found == EPOCH_LOST
	                    ? "none is needed: the next mount verifies all data before it "
	                      "is used"
	                    : NULL,
	            "damaged or missing%s",
	            found == EPOCH_FROM_COPY ? "; its copy is intact" : ", and so is its copy");
	check_settle(c, false);
}

/* 0; -EUCLEAN: damaged, *why. */
static int listing_look(struct check *c, const char *name, const char **why)
{
	g_autoptr(GBytes) bytes = NULL;
	int err = store_listing_read(c->store, g_ascii_strtoull(name, NULL, 16), &bytes);
	gsize size = 0;
	const void *data = bytes ? g_bytes_get_data(bytes, &size) : NULL;

	*why = err == 0 ? listing_refused(data, size) : "it is another directory's, or no file";
	return err == 0 && *why ? -EUCLEAN : err;
}

/* A listing that is not there is fetched again. The daemon may just have replaced the one that was
 * read. */
static void listing_check(struct check *c, int dir, const char *name)
{
	const char *why;
	int err = listing_look(c, name, &why);

	if (err == -EUCLEAN && c->options->live) {
		g_usleep(PAUSE_US);
		err = listing_look(c, name, &why);
	}
	if (err && err != -EUCLEAN)
		check_unread(c, err);
	if (err == -EUCLEAN)
		check_found(c, c->options->repair && unlinkat(dir, name, 0) == 0, NULL,
		            "the listing is damaged, and will be fetched again: %s", why);
}

static void dirty_check(struct check *c, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (!S_ISREG(st.st_mode) || st.st_size > 0))
		check_found(c, false, "none is needed: its name alone has a meaning",
		            "it should be an empty file");
}

/* A name in the index is another name of its file, or the only one. */
static void link_check(struct check *c, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	uint64_t ino = 0, expected = g_ascii_strtoull(name, NULL, 16);
	g_autofree char *remote = NULL;
	struct record r;
	struct stat st;
	bool wrong = false;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && record_read(fd, &r) == 0 && (r.flags & RECORD_KEPT) &&
	    origin_read(c->store, r.id, &ino, &remote) == 0)
		wrong = ino != expected;
	close(fd);
	if (wrong)
		check_found(c, check_repairs(c) && st.st_nlink > 1 && unlinkat(dir, name, 0) == 0,
		            st.st_nlink > 1 ? NULL : "unmount, and move it out of the store",
		            "it is the file of another remote one");
}

static void owner_check(struct check *c, int dir, const char *name)
{
	unsigned mode, uid, gid;
	char text[64];
	ssize_t n = readlinkat(dir, name, text, sizeof text - 1);
	int end = 0;

	text[MAX(n, 0)] = '\0';
	if (n < 0 && errno != EINVAL) { /* EINVAL: not a symlink */
		check_unread(c, -errno);
		return;
	}
	if (n < 0 || sscanf(text, "%o:%u:%u%n", &mode, &uid, &gid, &end) != 3 || text[end] ||
	    (mode & S_IFMT) == 0)
		check_found(c, check_repairs(c) && unlinkat(dir, name, 0) == 0, NULL,
		            "mode and owner of an object are damaged: its own are shown");
}

struct folder {
	const char *name;
	void (*check)(struct check *c, int dir, const char *name);
};

struct looking {
	struct check *check;
	const struct folder *folder;
};

static int look(int fd, struct dirent *e, void *user)
{
	struct looking *l = user;
	struct check *c = l->check;
	gsize length = c->path->len;

	g_string_append_printf(c->path, "/%s", e->d_name);
	l->folder->check(c, fd, e->d_name);
	c->totals.objects++;
	check_settle(c, false);
	g_string_truncate(c->path, length);
	return check_goes_on(c) ? 0 : 1;
}

static void folder_check(struct check *c, const struct folder *folder)
{
	struct looking l = {.check = c, .folder = folder};

	for (unsigned shard = 0; shard < 256 && !c->stopped; shard++) {
		int err;

		g_string_printf(c->path, "state/%s/%02x", folder->name, shard);
		err = entries_foreach(path_open(c->store->dir, c->path->str,
		                                O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0),
		                      look, &l);
		if (err < 0 && err != -ENOENT) {
			check_unread(c, err);
			check_settle(c, false);
		}
	}
}

static bool number_fits(const struct number_disk *n)
{
	static const struct number_disk none;

	return memcmp(n, &none, sizeof none) == 0 ||
	       (GUINT32_FROM_LE(n->check) ==
	                (uint32_t)XXH3_64bits(n, offsetof(struct number_disk, check)) &&
	        GUINT32_FROM_LE(n->shown) >= UINT32_C(1) << 31);
}

/* The file without its damaged entries takes its place. */
static bool numbers_mend(struct check *c, const GArray *good)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(c->store->state, "tmp/inode32", flags, 0600);
	size_t length = good->len * sizeof(struct number_disk);
	bool ok = fd >= 0 && write(fd, good->data, length) == (ssize_t)length && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok && renameat(c->store->state, "tmp/inode32", c->store->state, "inode32") == 0;
}

static void numbers_check(struct check *c)
{
	g_autoptr(GArray) good = g_array_new(FALSE, FALSE, sizeof(struct number_disk));
	int fd = openat(c->store->state, "inode32",
	                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct number_disk some[4096];
	uint64_t bad = 0;
	off_t at = 0;
	ssize_t n;

	g_string_assign(c->path, "state/inode32");
	if (fd < 0) {
		if (errno != ENOENT)
			check_unread(c, -errno);
		check_settle(c, false);
		return;
	}
	while ((n = pread(fd, some, sizeof some, at)) >= (ssize_t)sizeof some[0]) {
		size_t count = (size_t)n / sizeof some[0];

		for (size_t i = 0; i < count; i++)
			if (number_fits(&some[i]))
				g_array_append_val(good, some[i]);
			else
				bad++;
		at += (off_t)(count * sizeof some[0]);
	}
	close(fd);
	if (n < 0)
		check_unread(c, -errno);
	else if (bad)
		check_found(c, check_repairs(c) && numbers_mend(c, good), NULL,
		            "%" PRIu64 " inode numbers are damaged, and assigned anew", bad);
	check_settle(c, false);
}

void check_state(struct check *c)
{
	static const struct folder folders[] = {{"dirs", listing_check},
	                                        {"dirty", dirty_check},
	                                        {"links", link_check},
	                                        {"owners", owner_check}};

	settings_check(c);
	epoch_check(c);
	numbers_check(c);
	for (size_t n = 0; n < G_N_ELEMENTS(folders) && !c->stopped; n++)
		folder_check(c, &folders[n]);
}
