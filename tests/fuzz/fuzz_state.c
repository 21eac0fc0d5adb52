/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a store finds on its disk beside fuzz_store.c's: the attributes of a local file or directory
 * with its origin, and the files usage, epoch and pins. The first byte chooses. */
#include "tests/fuzz/fuzz_dir.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/xattr.h>
#include <xxhash.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/epoch_disk.h"
#include "fetch/store/disk/pins.h"
#include "fetch/store/disk/space.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/disk/store_private.h"
#include "fetch/store/disk/lru.h"
#include "fetch/store/disk/usage.h"
#include "fetch/store/disk/lru.h"
#include "fetch/store/object/object_private.h"
#include "fetch/store/opening.h"
#include "fetch/store/tree/tree.h"

static struct store *store;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct store_settings settings = {.source = "test:", .chunk_shift = 12};
	g_autofree char *path = NULL;

	g_log_set_writer_func(fuzz_log_drop, NULL, NULL);
	fuzz_dir_new();
	path = g_build_filename(fuzz_dir, "store", NULL);
	store = store_open(path, &settings, NULL);
	check(store != NULL);
	check(mkdirat(store->tree, "d", 0700) == 0);
	check(shard_make(store->state, "origins", 0) == 0 &&
	      shard_make(store->state, "pins", 0) == 0);
	return 0;
}

/* Takes up to `most` bytes of the input, as many as its next byte says. */
static GBytes *take(const uint8_t **data, size_t *size, size_t most)
{
	size_t length = *size > 0 ? MIN(**data % (most + 1), *size - 1) : 0;
	GBytes *out = g_bytes_new(*size > 0 ? *data + 1 : *data, length);

	*data += *size > 0 ? 1 + length : 0;
	*size -= *size > 0 ? 1 + length : 0;
	return out;
}

static void set(int fd, const char *name, const uint8_t **data, size_t *size, size_t most)
{
	g_autoptr(GBytes) value = take(data, size, most);
	gsize length;
	const void *bytes = g_bytes_get_data(value, &length);

	if (length > 0)
		check(fsetxattr(fd, name, bytes, length, 0) == 0);
}

/* Binds a record to its file, or nothing behind that check would be reached. */
static void record_bind(int fd)
{
	struct record_disk r;
	struct stat st;
	ssize_t n = fgetxattr(fd, RECORD_XATTR, &r, sizeof r);

	if (n < (ssize_t)offsetof(struct record_disk, size) || fstat(fd, &st) < 0)
		return;
	r.ino = GUINT64_TO_LE((uint64_t)st.st_ino);
	check(fsetxattr(fd, RECORD_XATTR, &r, (size_t)n, 0) == 0);
}

/* The rest of the input, as the origin of the object of the record or mark in `fd`. */
static void origin_set(int fd, const char *text, char path[SHARD_PATH_MAX])
{
	struct record_disk r = {0};
	ssize_t n = fgetxattr(fd, RECORD_XATTR, &r, sizeof r);
	uint64_t id;

	*path = '\0';
	if (n < (ssize_t)sizeof(struct mark_disk) || *text == '\0')
		return;
	id = GUINT64_FROM_LE(n == sizeof(struct mark_disk) ? ((struct mark_disk *)&r)->id : r.id);
	check(shard_make(store->state, "origins", id) == 0);
	shard_path("origins", id, path);
	if (symlinkat(text, store->state, path) < 0)
		*path = '\0';
}

static void object_check(const uint8_t *data, size_t size, bool directory)
{
	int fd = openat(store->tree, directory ? "d" : "f",
	                directory ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT, 0600);
	g_autofree char *text = NULL;
	char origin[SHARD_PATH_MAX];
	struct tree_node n;

	check(fd >= 0 && (directory || ftruncate(fd, 100) == 0));
	set(fd, RECORD_XATTR, &data, &size, 80);
	if (size % 4)
		record_bind(fd);
	set(fd, OWNER_XATTR, &data, &size, 20);
	if (!directory) {
		set(fd, LINKS_XATTR, &data, &size, 10);
		set(fd, SEALS_XATTR, &data, &size, 6);
	}
	text = g_strndup((const char *)data, MIN(size, 900));
	origin_set(fd, text, origin);
	if (tree_look(store, directory ? "d" : "f", &n) == 0) {
		check(n.remote == NULL || path_valid(n.remote));
		check(n.kind == TREE_CACHE || n.kind == TREE_KEPT || n.kind == TREE_LOCAL);
		check(S_ISDIR(n.st.st_mode) == directory && n.st.st_size >= 0);
		tree_node_clear(&n);
	}
	if (*origin)
		unlinkat(store->state, origin, 0);
	fremovexattr(fd, RECORD_XATTR);
	fremovexattr(fd, OWNER_XATTR);
	close(fd);
	if (!directory)
		unlinkat(store->tree, "f", 0);
}

/* The first byte: with a checksum that fits? */
static void usage_check(const uint8_t *data, size_t size)
{
	g_autofree uint8_t *copy = size > 1 ? g_memdup2(data + 1, size - 1) : NULL;
	struct space_use use;
	struct space_look look;

	if (copy != NULL && data[0] % 2 && size - 1 >= sizeof(struct usage_disk)) {
		struct usage_disk *d = (struct usage_disk *)copy;

		d->checksum = 0;
		d->checksum = GUINT64_TO_LE(XXH3_64bits(copy, size - 1));
	}
	fuzz_file(store->state, "usage", copy, size > 1 ? size - 1 : 0);
	store->fresh = false;
	store->space = (struct space){.quota = 1 << 20};
	lru_load(store, true);
	store_space_use(store, &use);
	check(store_space_look(store, &look) == 0);
	check(use.used <= 2 << 20 || space_lack(&look, 0, 1) >= use.used - (2 << 20));
	check(use.used < 1 << 20 || store_space_take(store, 1) == -ENOSPC);
	store_lru_trim(store);
	g_hash_table_remove_all(store->lru.times);
}

static void epoch_check(const uint8_t *data, size_t size)
{
	struct epoch_disk d = {0}, out = {0};

	memcpy(&d, data, MIN(size, sizeof d));
	if (size % 2)
		d.checksum = GUINT64_TO_LE(XXH3_64bits(&d, offsetof(struct epoch_disk, checksum)));
	fuzz_file(store->state, "epoch", &d, MIN(size, sizeof d));
	if (epoch_disk_read(store->state, &out) == EPOCH_INTACT)
		check(out.number != 0);
}

static bool pin_one(void *user, uint64_t ino, const char *path)
{
	check(ino != 0 && strlen(path) <= 4096);
	return true;
}

static void pins_check(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_auto(GStrv) names = g_strsplit(text, "\n", 16);

	for (char **name = names; *name; name++) {
		g_autofree char *path = g_strconcat("pins/00/", *name, NULL);

		if (**name && strlen(*name) < 256 && !strchr(*name, '/') &&
		    strcmp(*name, ".") != 0 && strcmp(*name, "..") != 0)
			fuzz_file(store->state, path, data, size);
	}
	check(pins_load(store) == 0);
	check(store_pins(store) <= 16);
	store_pins_foreach(store, pin_one, NULL);
	g_hash_table_remove_all(store->pins.inos);
	for (char **name = names; *name; name++) {
		g_autofree char *path = g_strconcat("pins/00/", *name, NULL);

		if (**name && !strchr(*name, '/'))
			unlinkat(store->state, path, 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned kind = size > 0 ? data[0] % 5 : 0;

	if (size == 0)
		return 0;
	data++;
	size--;
	if (kind < 2)
		object_check(data, size, kind == 1);
	else if (kind == 2 && size > 0)
		usage_check(data, size);
	else if (kind == 3)
		epoch_check(data, size);
	else if (kind == 4)
		pins_check(data, size);
	return 0;
}
