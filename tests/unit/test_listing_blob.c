/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include "fetch/base/listing.h"
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define HEADER_SIZE 48 /* of the blob; its checksum is the second field */

static struct listing_entry file_entry(uint64_t ino, uint64_t size, int64_t mtime_ns)
{
	return (struct listing_entry){.ino = ino,
	                              .size = size,
	                              .mtime_ns = mtime_ns,
	                              .mode = S_IFREG | 0644,
	                              .nlink = 1,
	                              .flags = LISTING_MTIME_KNOWN};
}

static bool add(struct listing_builder *b, const char *name, struct listing_entry e)
{
	return listing_builder_add(b, name, strlen(name), &e, NULL, NULL, NULL);
}

static struct listing *listing_of(const char *const *names, const struct listing *previous)
{
	struct listing_builder *b = listing_builder_new();
	for (; *names != NULL; names++)
		g_assert_true(
		        add(b, *names, file_entry(XXH3_64bits(*names, strlen(*names)), 1, 1)));
	return listing_builder_finish(b, "", 1, previous);
}

static struct listing *listing_sample(void)
{
	struct listing_builder *b = listing_builder_new();
	const char *names[] = {"user.one", "user.two", "security.empty"};
	const void *values[] = {"abc", "\0\1\2\3", NULL};
	size_t sizes[] = {3, 4, 0};
	g_autoptr(GBytes) xattrs = listing_xattrs_pack(3, names, values, sizes);
	struct listing_entry e = file_entry(2, 3, 4);
	g_assert_true(listing_builder_add(b, "with-xattrs", 11, &e, NULL, xattrs, NULL));
	e.ino = 3;
	e.mode = S_IFLNK | 0777;
	g_assert_true(listing_builder_add(b, "link", 4, &e, "../else/where", xattrs, NULL));
	e.ino = 4;
	e.mode = S_IFCHR | 0600;
	e.rdev = 1 << 20 | 3;
	g_assert_true(listing_builder_add(b, "null", 4, &e, NULL, NULL, NULL));
	e.ino = 5;
	e.mode = S_IFDIR | 0700;
	g_assert_true(listing_builder_add(b, "dir", 3, &e, NULL, NULL, NULL));
	return listing_builder_finish(b, "etag", 77, NULL);
}

static void sample_check(const struct listing *l)
{
	size_t size = 0;
	g_assert_cmpuint(listing_count(l), ==, 4);
	for (unsigned i = 0; i < 2; i++) {
		const struct listing_entry *e = listing_at(l, i);
		const char *names = listing_xattr_names(l, e, &size);
		g_assert_cmpmem(names, size, "user.one\0user.two\0security.empty", 33);
		const void *value = listing_xattr(l, e, "user.two", &size);
		g_assert_cmpmem(value, size, "\0\1\2\3", 4);
		value = listing_xattr(l, e, "user.one", &size);
		g_assert_cmpmem(value, size, "abc", 3);
		g_assert_nonnull(listing_xattr(l, e, "security.empty", &size));
		g_assert_cmpuint(size, ==, 0);
		g_assert_null(listing_xattr(l, e, "user.on", &size));
	}
	g_assert_null(listing_xattr(l, listing_at(l, 2), "user.one", &size));
	listing_xattr_names(l, listing_at(l, 2), &size);
	g_assert_cmpuint(size, ==, 0);
	g_assert_null(listing_target(l, listing_at(l, 0)));
	g_assert_cmpstr(listing_target(l, listing_at(l, 1)), ==, "../else/where");
	g_assert_cmpuint(listing_at(l, 2)->rdev, ==, 1 << 20 | 3);
	g_assert_cmpstr(listing_validator(l), ==, "etag");
	g_assert_cmpint(listing_checked(l), ==, 77);
}

static void test_xattrs_and_targets(void)
{
	struct listing *l = listing_sample();
	sample_check(l);
	g_autoptr(GBytes) bytes = listing_to_bytes(l);
	struct listing *again = listing_from_bytes(bytes, NULL);
	g_assert_nonnull(again);
	sample_check(again);
	listing_unref(again);
	listing_unref(l);

	const char *name = "";
	const void *value = "x";
	size_t size = 1;
	g_assert_null(listing_xattrs_pack(0, NULL, NULL, NULL));
	g_assert_null(listing_xattrs_pack(1, &name, &value, &size));
	name = "user.x";
	size = 65537;
	g_assert_null(listing_xattrs_pack(1, &name, &value, &size));
	struct listing_builder *b = listing_builder_new();
	struct listing_entry e = file_entry(2, 3, 4);
	g_autoptr(GBytes) junk = g_bytes_new_static("\1\0\0\0\1\0\0\0x", 9);
	g_assert_false(listing_builder_add(b, "x", 1, &e, NULL, junk, NULL));
	g_autofree char *target = g_strnfill(4096, 't');
	e.mode = S_IFLNK;
	g_assert_false(listing_builder_add(b, "x", 1, &e, target, NULL, NULL));
	g_assert_false(listing_builder_add(b, "x", 1, &e, "", NULL, NULL));
	listing_builder_free(b);
}

static void blob_sign(guint8 *blob, size_t size)
{
	if (size < 16)
		return;
	uint64_t sum = XXH3_64bits(blob + 16, size - 16);
	memcpy(blob + 8, &sum, sizeof sum);
}

/* Reads all that a file system would. */
static void listing_touch(struct listing *l)
{
	for (uint32_t i = 0; i < listing_count(l); i++) {
		const struct listing_entry *e = listing_at(l, i);
		size_t size = 0;
		uint32_t index;
		g_assert_true(listing_find(l, listing_name(l, e), &index));
		g_assert_cmpuint(index, ==, i);
		g_assert_cmpuint(listing_after(l, e->cookie), ==, i + 1);
		const char *names = listing_xattr_names(l, e, &size);
		for (const char *n = names; n < names + size; n += strlen(n) + 1) {
			size_t length;
			g_assert_nonnull(listing_xattr(l, e, n, &length));
		}
		if (listing_target(l, e) != NULL)
			g_assert_cmpuint(strlen(listing_target(l, e)), >, 0);
	}
	listing_validator(l);
}

/* Every byte is changed, with and without a matching checksum: the blob is refused, or as safe to
 * use as any other. */
static void test_damaged_blob(void)
{
	struct listing *l = listing_sample();
	g_autoptr(GBytes) bytes = listing_to_bytes(l);
	listing_unref(l);
	size_t size = g_bytes_get_size(bytes), accepted = 0;
	for (size_t at = 0; at < size; at++) {
		static const guint8 flips[] = {0x01, 0x80, 0xff};
		for (unsigned f = 0; f < G_N_ELEMENTS(flips); f++) {
			for (unsigned sign = 0; sign < 2; sign++) {
				guint8 *copy = g_memdup2(g_bytes_get_data(bytes, NULL), size);
				copy[at] ^= flips[f];
				if (sign)
					blob_sign(copy, size);
				g_autoptr(GBytes) damaged = g_bytes_new_take(copy, size);
				g_autoptr(GError) error = NULL;
				struct listing *read = listing_from_bytes(damaged, &error);
				if (read == NULL) {
					g_assert_error(error, FETCH_ERROR, FETCH_PROTOCOL);
					continue;
				}
				g_assert_true(sign);
				accepted++;
				listing_touch(read);
				listing_unref(read);
			}
		}
	}
	g_assert_cmpuint(accepted, >, 0); /* sizes, times, owners may be anything */
	for (size_t length = 0; length < size; length++) {
		guint8 *copy = g_memdup2(g_bytes_get_data(bytes, NULL), size);
		blob_sign(copy, length);
		g_autoptr(GBytes) cut = g_bytes_new_take(copy, length);
		g_assert_null(listing_from_bytes(cut, NULL));
	}
}

static void test_hostile_blob(void)
{
	/* two entries, and names as a builder would refuse them */
	struct listing *l = listing_of((const char *[]){"aa", "bb", NULL}, NULL);
	g_autoptr(GBytes) bytes = listing_to_bytes(l);
	listing_unref(l);
	size_t size = g_bytes_get_size(bytes);
	size_t heap = HEADER_SIZE + 2 * (sizeof(struct listing_entry) + 4);
	static const char *const evil[] = {"..", "a/", "a\n", "\0b", "bb"};
	for (unsigned i = 0; i < G_N_ELEMENTS(evil); i++) {
		guint8 *copy = g_memdup2(g_bytes_get_data(bytes, NULL), size);
		g_assert_cmpmem(copy + heap, 3, "aa", 3);
		memcpy(copy + heap, evil[i], 2);
		blob_sign(copy, size);
		g_autoptr(GBytes) damaged = g_bytes_new_take(copy, size);
		g_assert_null(listing_from_bytes(damaged, NULL));
	}
	guint8 *copy = g_memdup2(g_bytes_get_data(bytes, NULL), size);
	memcpy(copy, "LACNLST9", 8); /* a later version */
	blob_sign(copy, size);
	g_autoptr(GBytes) later = g_bytes_new_take(copy, size);
	g_autoptr(GError) error = NULL;
	g_assert_null(listing_from_bytes(later, &error));
	g_assert_nonnull(strstr(error->message, "version"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/listing/xattrs-and-targets", test_xattrs_and_targets);
	g_test_add_func("/listing/damaged-blob", test_damaged_blob);
	g_test_add_func("/listing/hostile-blob", test_hostile_blob);
	return g_test_run();
}
