/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/path.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *root;
static int dir;

static void put(const char *path)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT, 0600);

	g_assert_cmpint(write(fd, path, strlen(path)), ==, strlen(path));
	close(fd);
}

static void set_up(void)
{
	root = g_dir_make_tmp("lacuna-path-XXXXXX", NULL);
	dir = open(root, O_RDONLY | O_DIRECTORY);
	g_assert_cmpint(dir, >=, 0);
	mkdirat(dir, "beneath", 0755);
	mkdirat(dir, "beneath/a", 0755);
	mkdirat(dir, "beneath/a/b", 0755);
	put("secret");
	put("beneath/a/b/file");
	symlinkat("..", dir, "beneath/up");
	symlinkat("a", dir, "beneath/inside");
	symlinkat("/", dir, "beneath/a/top");
	symlinkat("b/file", dir, "beneath/a/link");
	close(dir);
	dir = open(root, O_RDONLY | O_DIRECTORY);
}

static void tear_down(void)
{
	g_autofree char *command = g_strdup_printf("rm -rf '%s'", root);

	close(dir);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
	g_free(root);
}

typedef int opener(int dir, const char *path, int flags, mode_t mode);

static int try(opener *open_it, const char *path, int flags)
{
	int beneath = openat(dir, "beneath", O_PATH | O_DIRECTORY);
	int fd = open_it(beneath, path, flags, 0600);

	close(beneath);
	if (fd < 0)
		return fd;
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	close(fd);
	return 0;
}

static void check_opener(opener *o)
{
	static const char *const invalid[] = {
	        "..", ".",    "a/..", "../secret", "a/../../secret", "/",         "/etc/passwd",
	        "a/", "a//b", "./a",  "a/./b",     "a/b/..",         "a/b/file/",
	};
	static const char *const links[] = {
	        "up/secret", "inside/b/file", "a/top/etc/passwd", "a/link", "inside", "up",
	};

	g_assert_cmpint(try(o, "", O_RDONLY | O_DIRECTORY), ==, 0);
	g_assert_cmpint(try(o, "a", O_PATH | O_DIRECTORY), ==, 0);
	g_assert_cmpint(try(o, "a/b/file", O_RDONLY), ==, 0);
	g_assert_cmpint(try(o, "a/b/new", O_RDWR | O_CREAT | O_EXCL), ==, 0);
	g_assert_cmpint(unlinkat(dir, "beneath/a/b/new", 0), ==, 0);
	g_assert_cmpint(try(o, "a/x/file", O_RDONLY), ==, -ENOENT);
	g_assert_cmpint(try(o, "a/b/file/x", O_RDONLY), ==, -ENOTDIR);
	for (unsigned i = 0; i < G_N_ELEMENTS(invalid); i++)
		g_assert_cmpint(try(o, invalid[i], O_RDONLY), ==, -EINVAL);
	for (unsigned i = 0; i < G_N_ELEMENTS(links); i++) {
		int err = try(o, links[i], O_RDONLY);

		g_assert_true(err == -ELOOP || err == -ENOTDIR);
	}
}

static void test_open(void)
{
	check_opener(path_open);
}

static void test_walk(void)
{
	check_opener(path_walk);
}

/* A kernel, or a container's filter, that knows no openat2. */
static void refuse_openat2(int err)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};

	g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
	g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
	g_assert_cmpint(syscall(SYS_openat2, AT_FDCWD, ".", NULL, 0), ==, -1);
	g_assert_cmpint(errno, ==, err);
}

static void test_without_openat2(const void *err)
{
	if (g_test_subprocess()) {
		refuse_openat2(GPOINTER_TO_INT(err));
		check_opener(path_open);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_passed();
}

static void test_parent(void)
{
	int beneath = openat(dir, "beneath", O_PATH | O_DIRECTORY), fd;
	const char *name = NULL;

	fd = path_open_parent(beneath, "a/b/file", &name);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpstr(name, ==, "file");
	g_assert_cmpint(faccessat(fd, name, F_OK, 0), ==, 0);
	close(fd);
	fd = path_open_parent(beneath, "top", &name);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpstr(name, ==, "top");
	close(fd);
	name = "untouched";
	g_assert_cmpint(path_open_parent(beneath, "n/m/file", &name), ==, -ENOENT);
	g_assert_cmpint(path_open_parent(beneath, "up/x", &name), ==, -ELOOP);
	g_assert_cmpint(path_open_parent(beneath, "", &name), ==, -EINVAL);
	g_assert_cmpint(path_make_parent(beneath, "../x/y", 0755, &name), ==, -EINVAL);
	g_assert_cmpstr(name, ==, "untouched");
	fd = path_make_parent(beneath, "n/m/file", 0755, &name);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpstr(name, ==, "file");
	g_assert_cmpint(faccessat(dir, "beneath/n/m", F_OK, 0), ==, 0);
	close(fd);
	fd = path_make_parent(beneath, "up/m/file", 0755, &name);
	g_assert_true(fd == -ELOOP || fd == -ENOTDIR);
	g_assert_cmpint(faccessat(dir, "m", F_OK, 0), <, 0);
	close(beneath);
}

/* Longer than a system call takes. */
static void test_long(void)
{
	g_autoptr(GString) path = g_string_new(NULL);
	char name[201];
	const char *last;
	int fd;

	memset(name, 'n', 200);
	name[200] = '\0';
	while (path->len < 2 * PATH_MAX) {
		g_string_append(path, name);
		g_string_append_c(path, '/');
	}
	g_string_append(path, "file");
	g_assert_cmpint(path_open(dir, path->str, O_RDONLY, 0), ==, -ENOENT);
	fd = path_make_parent(dir, path->str, 0755, &last);
	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpstr(last, ==, "file");
	close(openat(fd, last, O_CREAT | O_WRONLY, 0600));
	close(fd);
	fd = path_open(dir, path->str, O_RDONLY, 0);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	fd = path_open_parent(dir, path->str, &last);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
}

static void test_name_length(void)
{
	char name[258];

	memset(name, 'x', 256);
	name[256] = '\0';
	g_assert_false(path_valid(name));
	name[255] = '\0';
	g_assert_true(path_valid(name));
	g_assert_true(path_valid("..."));
	g_assert_true(path_valid(".a"));
	g_assert_true(path_valid(""));
}

/* A HOME that names no place must not become one below the current directory. */
static void test_home(void)
{
	const char *said[] = {"", "relative", "./x", NULL};
	g_autofree char *before = g_strdup(g_getenv("HOME"));
	struct passwd *user = getpwuid(getuid());
	g_autofree char *known = g_strdup(user ? user->pw_dir : "/");
	g_autofree char *set = NULL;

	for (const char **home = said; *home; home++) {
		g_setenv("HOME", *home, TRUE);
		g_autofree char *found = path_home();
		g_assert_cmpstr(found, ==, known);
	}
	g_setenv("HOME", "/some/where", TRUE);
	set = path_home();
	g_assert_cmpstr(set, ==, "/some/where");
	if (before)
		g_setenv("HOME", before, TRUE);
	else
		g_unsetenv("HOME");
}

int main(int argc, char **argv)
{
	int status;

	g_test_init(&argc, &argv, NULL);
	set_up();
	g_test_add_func("/path/open", test_open);
	g_test_add_func("/path/walk", test_walk);
	g_test_add_data_func("/path/enosys", GINT_TO_POINTER(ENOSYS), test_without_openat2);
	g_test_add_data_func("/path/eperm", GINT_TO_POINTER(EPERM), test_without_openat2);
	g_test_add_func("/path/parent", test_parent);
	g_test_add_func("/path/long", test_long);
	g_test_add_func("/path/name-length", test_name_length);
	g_test_add_func("/path/home", test_home);
	status = g_test_run();
	tear_down();
	return status;
}
