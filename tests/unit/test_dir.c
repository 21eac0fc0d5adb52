/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory source: listings and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "fetch/source/dir/dir.h"
#include "tests/unit/dir_box.h"

static void check_entry(struct dir_box *b, const struct listing *l, const char *name)
{
	const struct listing_entry *e = dir_box_entry(l, name);
	struct stat st;

	g_assert_cmpint(fstatat(b->fd, name, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
	g_assert_cmpuint(e->mode, ==, st.st_mode);
	g_assert_cmpuint(e->uid, ==, st.st_uid);
	g_assert_cmpuint(e->gid, ==, st.st_gid);
	g_assert_cmpuint(e->nlink, ==, st.st_nlink);
	g_assert_cmpuint(e->size, ==, st.st_size);
	g_assert_cmpint(e->mtime_ns, ==,
	                st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec);
	g_assert_cmpuint(e->flags, ==, LISTING_SIZE_EXACT | LISTING_MTIME_KNOWN);
	g_assert_cmpuint(e->ino, >, 1);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		g_assert_cmpuint(e->rdev >> 20, ==, major(st.st_rdev));
		g_assert_cmpuint(e->rdev & 0xfffff, ==, minor(st.st_rdev));
	} else {
		g_assert_cmpuint(e->rdev, ==, 0);
	}
	if (S_ISLNK(st.st_mode)) {
		char target[4096] = "";

		g_assert_cmpint(readlinkat(b->fd, name, target, sizeof target - 1), >, 0);
		g_assert_cmpstr(listing_target(l, e), ==, target);
	}
}

static void check_xattr(const struct listing *l, const char *file, const char *name,
                        const void *value, size_t length)
{
	size_t size = 0;
	const void *found = listing_xattr(l, dir_box_entry(l, file), name, &size);

	g_assert_nonnull(found);
	g_assert_cmpmem(found, size, value, length);
}

static void make_socket(struct dir_box *b, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	g_snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", b->fd, name);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	close(fd);
}

static const char *const kinds[] = {
        "plain", "hard",   "modes",  "d",     "short",  "long",        "broken",
        "fifo",  "socket", "sparse", "times", "before", "line\nbreak", "\xff\xfe",
};

static void make_kinds(struct dir_box *b)
{
	const struct timespec late[2] = {{4000000000, 123456789}, {4000000000, 123456789}};
	const struct timespec early[2] = {{-2, 500000000}, {-2, 500000000}};
	char target[4001];

	memset(target, 'x', 4000);
	target[4000] = '\0';
	dir_box_put(b, "plain", "hello", 5);
	g_assert_cmpint(linkat(b->fd, "plain", b->fd, "hard", 0), ==, 0);
	dir_box_put(b, "modes", "", 0);
	fchmodat(b->fd, "modes", 04751, 0);
	mkdirat(b->fd, "d", 01777);
	symlinkat("plain", b->fd, "short");
	symlinkat(target, b->fd, "long");
	symlinkat("/nowhere", b->fd, "broken");
	mkfifoat(b->fd, "fifo", 0640);
	make_socket(b, "socket");
	dir_box_run(b, "truncate -s 1G sparse");
	dir_box_put(b, "times", "", 0);
	utimensat(b->fd, "times", late, 0);
	dir_box_put(b, "before", "", 0);
	utimensat(b->fd, "before", early, 0);
	dir_box_put(b, "line\nbreak", "", 0);
	dir_box_put(b, "\xff\xfe", "", 0);
}

static void test_everything(void)
{
	struct dir_box b;
	g_autoptr(GError) error = NULL;
	struct listing *l;

	dir_box_new(&b);
	make_kinds(&b);
	l = dir_box_list(&b, "", NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(listing_count(l), ==, G_N_ELEMENTS(kinds));
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
		check_entry(&b, l, kinds[i]);
	g_assert_cmpuint(dir_box_entry(l, "plain")->ino, ==, dir_box_entry(l, "hard")->ino);
	g_assert_cmpuint(dir_box_entry(l, "plain")->nlink, ==, 2);
	g_assert_cmpuint(dir_box_entry(l, "modes")->ino, !=, dir_box_entry(l, "times")->ino);
	listing_unref(l);
	l = dir_box_list(&b, "d", NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(listing_count(l), ==, 0);
	listing_unref(l);
	dir_box_free(&b);
}

static void test_as_root(void)
{
	static const unsigned char capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0,
	                                           0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	struct dir_box b;
	struct listing *l;

	if (geteuid() != 0) {
		g_test_skip("needs root");
		return;
	}
	dir_box_new(&b);
	g_assert_cmpint(mknodat(b.fd, "null", S_IFCHR | 0666, makedev(1, 3)), ==, 0);
	g_assert_cmpint(mknodat(b.fd, "block", S_IFBLK | 0640, makedev(259, 70000)), ==, 0);
	dir_box_put(&b, "owned", "", 0);
	g_assert_cmpint(fchownat(b.fd, "owned", 1234, 70000, 0), ==, 0);
	symlinkat("x", b.fd, "link");
	g_assert_cmpint(fchownat(b.fd, "link", 12, 34, AT_SYMLINK_NOFOLLOW), ==, 0);
	{
		g_autofree char *owned = g_build_filename(b.root, "tree", "owned", NULL);
		g_autofree char *link = g_build_filename(b.root, "tree", "link", NULL);

		g_assert_cmpint(setxattr(owned, "security.capability", capability, 20, 0), ==, 0);
		g_assert_cmpint(setxattr(owned, "trusted.t", "t", 1, 0), ==, 0);
		g_assert_cmpint(lsetxattr(link, "trusted.link", "l", 1, 0), ==, 0);
	}
	l = dir_box_list(&b, "", NULL, NULL);
	check_entry(&b, l, "null");
	check_entry(&b, l, "block");
	check_entry(&b, l, "owned");
	check_entry(&b, l, "link");
	check_xattr(l, "owned", "security.capability", capability, sizeof capability);
	check_xattr(l, "owned", "trusted.t", "t", 1);
	check_xattr(l, "link", "trusted.link", "l", 1);
	listing_unref(l);
	dir_box_free(&b);
}

static void test_xattrs(void)
{
	struct dir_box b;
	struct listing *l;
	unsigned char bytes[256];
	size_t size = 0;
	g_autofree char *file = NULL, *directory = NULL;

	dir_box_new(&b);
	for (unsigned i = 0; i < 256; i++)
		bytes[i] = (unsigned char)i;
	dir_box_put(&b, "f", "", 0);
	dir_box_put(&b, "none", "", 0);
	mkdirat(b.fd, "d", 0755);
	file = g_build_filename(b.root, "tree", "f", NULL);
	directory = g_build_filename(b.root, "tree", "d", NULL);
	g_assert_cmpint(setxattr(file, "user.bytes", bytes, 256, 0), ==, 0);
	g_assert_cmpint(setxattr(file, "user.empty", "", 0, 0), ==, 0);
	g_assert_cmpint(setxattr(directory, "user.d", "dir", 3, 0), ==, 0);
	l = dir_box_list(&b, "", NULL, NULL);
	check_xattr(l, "f", "user.bytes", bytes, 256);
	check_xattr(l, "f", "user.empty", "", 0);
	check_xattr(l, "d", "user.d", "dir", 3);
	g_assert_null(listing_xattr(l, dir_box_entry(l, "f"), "user.none", &size));
	listing_xattr_names(l, dir_box_entry(l, "none"), &size);
	g_assert_cmpuint(size, ==, 0);
	listing_unref(l);
	dir_box_free(&b);
}

/* An unchanged directory gives the same listing, any change a new one with the same cookies. */
static void test_conditional(void)
{
	static const char *const changes[] = {
	        "chmod 600 plain",
	        "echo more >> plain",
	        "touch -d @5 modes",
	        "ln plain hard2",
	        "rm hard2",
	        "ln -sfn other short",
	        "mv plain moved",
	        "setfattr -n user.x -v 1 moved || touch x1",
	        "setfattr -n user.x -v 2 moved || touch x2",
	        "rm modes; touch modes",
	        "rmdir d; touch d",
	        "mkdir e",
	};
	struct dir_box b;
	struct listing *l, *again;
	uint32_t cookie;

	dir_box_new(&b);
	make_kinds(&b);
	l = dir_box_list(&b, "", NULL, NULL);
	cookie = dir_box_entry(l, "fifo")->cookie;
	for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
		again = dir_box_list(&b, "", l, NULL);
		g_assert_true(again == l);
		listing_unref(again);
		dir_box_run(&b, changes[i]);
		again = dir_box_list(&b, "", l, NULL);
		g_assert_true(again != l);
		g_assert_cmpuint(dir_box_entry(again, "fifo")->cookie, ==, cookie);
		listing_unref(l);
		l = again;
	}
	listing_unref(l);
	dir_box_free(&b);
}

/* A reused inode number is another file. */
static void test_identity(void)
{
	struct dir_box b;
	struct listing *l;
	uint64_t first;
	struct stat before, after;

	dir_box_new(&b);
	dir_box_put(&b, "f", "1", 1);
	l = dir_box_list(&b, "", NULL, NULL);
	first = dir_box_entry(l, "f")->ino;
	listing_unref(l);
	dir_box_run(&b, "chmod 600 f; echo 2 > f; mv f g");
	l = dir_box_list(&b, "", NULL, NULL);
	g_assert_cmpuint(dir_box_entry(l, "g")->ino, ==, first);
	listing_unref(l);
	for (unsigned i = 0; i < 50; i++) {
		fstatat(b.fd, "g", &before, 0);
		unlinkat(b.fd, "g", 0);
		dir_box_put(&b, "g", "3", 1);
		fstatat(b.fd, "g", &after, 0);
		l = dir_box_list(&b, "", NULL, NULL);
		g_assert_cmpuint(dir_box_entry(l, "g")->ino, !=, first);
		first = dir_box_entry(l, "g")->ino;
		listing_unref(l);
	}
	dir_box_free(&b);
}

static void test_stat(void)
{
	struct dir_box b;
	struct source_stat first, second;
	g_autoptr(GError) error = NULL;
	struct timespec times[2] = {{0}, {1000000000, 7}};

	dir_box_new(&b);
	dir_box_put(&b, "f", "12345", 5);
	utimensat(b.fd, "f", times, 0);
	symlinkat("f", b.fd, "l");
	g_assert_true(dir_box_stat(&b, "f", &first, NULL));
	g_assert_cmpuint(first.size, ==, 5);
	g_assert_true(first.mtime_known);
	g_assert_cmpint(first.mtime_ns, ==, INT64_C(1000000000000000007));
	g_assert_true(dir_box_stat(&b, "f", &second, NULL));
	g_assert_cmpuint(first.version, ==, second.version);
	g_usleep(20000);
	dir_box_put(&b, "f", "54321", 5);
	utimensat(b.fd, "f", times, 0); /* only the ctime shows it */
	g_assert_true(dir_box_stat(&b, "f", &second, NULL));
	g_assert_cmpuint(first.version, !=, second.version);
	g_assert_cmpuint(second.version, !=, 0);
	g_assert_false(dir_box_stat(&b, "none", &second, &error));
	g_assert_error(error, FETCH_ERROR, FETCH_MISSING);
	dir_box_free(&b);
}

/* Another file system in the tree is crossed, and its numbers are its own. */
static void test_mounts(void)
{
	struct dir_box b;
	struct listing *l;
	g_autofree char *place = NULL;
	uint64_t before;

	dir_box_new(&b);
	mkdirat(b.fd, "m", 0755);
	place = g_build_filename(b.root, "tree", "m", NULL);
	l = dir_box_list(&b, "", NULL, NULL);
	before = dir_box_entry(l, "m")->ino;
	listing_unref(l);
	if (geteuid() != 0 || mount("test", place, "tmpfs", 0, "size=64k") < 0) {
		g_test_skip("needs root to mount");
		dir_box_free(&b);
		return;
	}
	dir_box_put(&b, "m/inside", "x", 1);
	l = dir_box_list(&b, "", NULL, NULL);
	g_assert_cmpuint(dir_box_entry(l, "m")->ino, !=, before);
	listing_unref(l);
	l = dir_box_list(&b, "m", NULL, NULL);
	g_assert_cmpuint(dir_box_entry(l, "inside")->size, ==, 1);
	listing_unref(l);
	umount(place);
	dir_box_free(&b);
}

static void test_many(void)
{
	struct dir_box b;
	struct listing *l;

	dir_box_new(&b);
	for (unsigned i = 0; i < 5000; i++) {
		char name[32];

		g_snprintf(name, sizeof name, "file-%u", i);
		close(openat(b.fd, name, O_CREAT | O_WRONLY, 0600));
	}
	l = dir_box_list(&b, "", NULL, NULL);
	g_assert_cmpuint(listing_count(l), ==, 5000);
	listing_unref(l);
	dir_box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dir/everything", test_everything);
	g_test_add_func("/dir/as-root", test_as_root);
	g_test_add_func("/dir/xattrs", test_xattrs);
	g_test_add_func("/dir/conditional", test_conditional);
	g_test_add_func("/dir/identity", test_identity);
	g_test_add_func("/dir/stat", test_stat);
	g_test_add_func("/dir/mounts", test_mounts);
	g_test_add_func("/dir/many", test_many);
	return g_test_run();
}
