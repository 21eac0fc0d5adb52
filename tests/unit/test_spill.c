/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fetch/publish/spill.h"

#define DIRECTORIES 1500u
#define PATH_SIZE 65536u

/* Pages of files that are mapped now, in MiB. */
static unsigned mapped(void)
{
	unsigned long size = 0, resident = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	g_assert_nonnull(f);
	g_assert_cmpint(fscanf(f, "%lu %lu %lu", &size, &resident, &shared), ==, 3);
	fclose(f);
	return (unsigned)(shared * (unsigned long)sysconf(_SC_PAGESIZE) >> 20);
}

static void spill_fill(struct spill *s)
{
	g_autofree char *path = g_malloc(PATH_SIZE);
	for (unsigned n = 0; n < DIRECTORIES; n++) {
		struct spill_directory d = {
		        .number = n, .path_size = PATH_SIZE, .bytes = PATH_SIZE};
		memset(path, 'a' + (int)(n % 26), PATH_SIZE - 1);
		path[PATH_SIZE - 1] = '\0';
		g_assert_true(spill_add(s, &d, sizeof(d), NULL));
		g_assert_true(spill_add(s, path, PATH_SIZE, NULL));
	}
}

static void test_passes(void)
{
	int dir = open(g_get_tmp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct spill *s = spill_new(dir, NULL);
	g_assert_nonnull(s);
	spill_fill(s);
	g_assert_true(spill_map(s, NULL));
	unsigned before = mapped();
	const struct spill_directory *first = spill_next(s, NULL);
	for (unsigned pass = 0; pass < 3; pass++) {
		unsigned n = 0;
		const struct spill_directory *d = NULL;
		while ((d = spill_next(s, d)) != NULL) {
			const char *path = spill_path(d);
			g_assert_cmpuint(d->number, ==, n);
			g_assert_cmpint(path[0], ==, 'a' + (int)(n % 26));
			g_assert_cmpuint(strlen(path), ==, PATH_SIZE - 1);
			n++;
		}
		g_assert_cmpuint(n, ==, DIRECTORIES);
		/* of 94 MiB */
		g_assert_cmpuint(mapped(), <, before + 64);
		/* what is behind can still be used */
		g_assert_cmpint(spill_path(first)[PATH_SIZE - 2], ==, 'a');
	}
	spill_free(s);
	close(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/spill/passes", test_passes);
	return g_test_run();
}
