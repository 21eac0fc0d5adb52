/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/dirents.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMES 3000u /* more than the kernel gives at once */

/* The answer of getdents64; 0: the kernel's own. */
static int answer;

/* Replaces the library's function. */
ssize_t getdents64(int fd, void *buffer, size_t size)
{
	errno = answer;
	return answer != 0 ? -1 : syscall(SYS_getdents64, fd, buffer, size);
}

static struct dirents *open_at(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	return dirents_new(fd);
}

static char *make(unsigned names)
{
	char *path = g_dir_make_tmp("lacuna-dirents-XXXXXX", NULL);

	g_assert_nonnull(path);
	for (unsigned n = 0; n < names; n++) {
		g_autofree char *name = g_strdup_printf("%s/name%u", path, n);

		g_assert_cmpint(close(open(name, O_CREAT | O_WRONLY, 0600)), ==, 0);
	}
	return path;
}

static void drop(char *path, unsigned names)
{
	for (unsigned n = 0; n < names; n++) {
		g_autofree char *name = g_strdup_printf("%s/name%u", path, n);

		g_assert_cmpint(unlink(name), ==, 0);
	}
	g_assert_cmpint(rmdir(path), ==, 0);
	g_free(path);
}

static void test_all(void)
{
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	char *path = make(NAMES);
	struct dirents *d = open_at(path);
	struct dirent *e;

	while (dirents_next(d, &e) == 1) {
		g_assert_true(g_str_has_prefix(e->d_name, "name"));
		g_assert_cmpint(e->d_type, ==, DT_REG);
		g_assert_true(g_hash_table_add(seen, g_strdup(e->d_name)));
	}
	g_assert_cmpint(dirents_next(d, &e), ==, 0);
	g_assert_cmpuint(g_hash_table_size(seen), ==, NAMES);
	dirents_free(d);
	drop(path, NAMES);
}

static void test_not_to_its_end(void)
{
	static const struct {
		int answer, result;
	} all[] = {{ENOENT, -EIO}, {EIO, -EIO}, {ESTALE, -ESTALE}, {EMFILE, -EMFILE}};
	char *path = make(NAMES);

	for (size_t n = 0; n < G_N_ELEMENTS(all); n++) {
		struct dirents *d = open_at(path);
		struct dirent *e;
		unsigned count = 0;
		int more;

		g_assert_cmpint(dirents_next(d, &e), ==, 1);
		answer = all[n].answer;
		while ((more = dirents_next(d, &e)) == 1)
			count++;
		g_assert_cmpint(more, ==, all[n].result);
		g_assert_cmpuint(count, <, NAMES - 1);
		answer = 0;
		dirents_free(d);
	}
	drop(path, NAMES);
}

static void test_removed(void)
{
	char *path = make(0);
	struct dirents *d = open_at(path);
	struct dirent *e;

	drop(path, 0);
	g_assert_cmpint(dirents_next(d, &e), ==, -ENOENT);
	dirents_free(d);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dirents/all", test_all);
	g_test_add_func("/dirents/not_to_its_end", test_not_to_its_end);
	g_test_add_func("/dirents/removed", test_removed);
	return g_test_run();
}
