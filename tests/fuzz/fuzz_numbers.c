/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* state/inode32, as a store may have it; each entry's check is made to fit where its first byte is
 * odd. No two inodes are shown by one number, whatever was in it. */
#include "tests/fuzz/fuzz_dir.h"
#include <stddef.h>
#include <string.h>
#include <xxhash.h>
#include "fetch/store/disk/format.h"
#include "fuse/inode/numbers.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	g_log_set_writer_func(fuzz_log_drop, NULL, NULL);
	fuzz_dir_new();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t inos[] = {1, 2, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
	g_autofree char *path = g_build_filename(fuzz_dir, "inode32", NULL);
	g_autofree uint8_t *copy = g_memdup2(data, size);
	uint64_t shown[G_N_ELEMENTS(inos)];

	for (size_t at = 0; at + sizeof(struct number_disk) <= size;
	     at += sizeof(struct number_disk)) {
		struct number_disk d;

		memcpy(&d, copy + at, sizeof d);
		if (copy[at] % 2)
			d.check = GUINT32_TO_LE(
			        (uint32_t)XXH3_64bits(&d, offsetof(struct number_disk, check)));
		memcpy(copy + at, &d, sizeof d);
	}
	fuzz_file(AT_FDCWD, path, copy, size);
	struct numbers *n = numbers_new(path);
	for (size_t k = 0; k < G_N_ELEMENTS(inos); k++) {
		shown[k] = numbers_shown(n, inos[k]);
		check(shown[k] > 0 && shown[k] < UINT32_MAX);
		check(numbers_inner(n, shown[k]) == inos[k]);
		for (size_t j = 0; j < k; j++)
			check(shown[j] != shown[k]);
	}
	numbers_free(n);
	n = numbers_new(path); /* the same after a remount */
	for (size_t k = 0; k < G_N_ELEMENTS(inos); k++)
		check(numbers_shown(n, inos[k]) == shown[k]);
	numbers_free(n);
	return 0;
}
