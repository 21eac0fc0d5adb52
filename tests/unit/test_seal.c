/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/seal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "tests/unit/seals.h"

/* By the table, whatever the kernel */

static void test_add_order(void)
{
	static const struct {
		uint32_t there, wanted;
		struct seal_facts facts;
		int error;
		uint32_t after;
	} rows[] = {
#define OPEN .writable = true
#define FINE OPEN, .sealable = true
	        /* each is the first of several errors */
	        {SEAL, 0x40 | WRITE, {.mapped = true}, -EPERM},
	        {SEAL, 0x40 | WRITE, {OPEN, .mapped = true}, -EINVAL},
	        {SEAL, WRITE, {OPEN, .mapped = true}, -EINVAL},
	        {SEAL, WRITE, {FINE, .mapped = true, .unseen = true}, -EPERM},
	        {0, WRITE, {FINE, .mapped = true}, -EBUSY},
	        {0, WRITE, {FINE}, 0, WRITE},
	        {0, 0, {FINE}, 0, 0},
	        {SEAL, 0, {FINE}, -EPERM},
	        {SEAL, SEAL, {FINE}, -EPERM},
	        {0, SEAL | SHRINK, {FINE}, 0, SEAL | SHRINK},
	        /* all or nothing */
	        {SHRINK, GROW | WRITE | SEAL, {FINE, .mapped = true}, -EBUSY},
	        {SHRINK, GROW | 0x80000000u, {FINE}, -EINVAL},
	        /* only new ones */
	        {WRITE, WRITE | GROW, {FINE, .mapped = true}, 0, WRITE | GROW},
	        {0, FUTURE | GROW | SHRINK, {FINE, .mapped = true}, 0, FUTURE | GROW | SHRINK},
	        {FUTURE, WRITE, {FINE, .mapped = true}, -EBUSY},
	        /* EXEC */
	        {0, EXEC, {FINE, .mode = 0666}, 0, EXEC},
	        {0, EXEC, {FINE, .mode = 0666, .mapped = true}, 0, EXEC},
	        {0, EXEC, {FINE, .mode = 0010}, 0, SEAL_ALL & ~SEAL},
	        {0, EXEC, {FINE, .mode = 0010, .mapped = true}, -EBUSY},
	        {WRITE, EXEC, {FINE, .mode = 0001, .mapped = true}, 0, SEAL_ALL & ~SEAL},
	        {0, EXEC | SEAL, {FINE, .mode = 0100}, 0, SEAL_ALL},
	        {0, WRITE, {FINE, .mode = 0111}, 0, WRITE},
	        /* in passthrough: writes that the daemon would not see */
	        {0, WRITE, {FINE, .unseen = true}, -EBUSY},
	        {0, FUTURE, {FINE, .unseen = true}, -EBUSY},
	        {0, GROW, {FINE, .unseen = true}, -EBUSY},
	        {0, SHRINK | SEAL | EXEC, {FINE, .unseen = true}, 0, SHRINK | SEAL | EXEC},
	        {GROW, GROW | SHRINK, {FINE, .unseen = true}, 0, GROW | SHRINK},
#undef FINE
#undef OPEN
	};
	for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
		uint32_t seals = rows[n].there;
		int err = seal_add(&seals, rows[n].wanted, &rows[n].facts);
		uint32_t after = rows[n].error ? rows[n].there : rows[n].after;
		if (err != rows[n].error || seals != after)
			g_error("row %u: %d and %#x", n, err, seals);
	}
}

static void test_open(void)
{
	static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE};
	for (uint32_t seals = 0; seals <= SEAL_ALL; seals++) {
		for (unsigned n = 0; n < G_N_ELEMENTS(modes); n++) {
			bool refused = modes[n] == O_RDWR && (seals & (WRITE | FUTURE));
			g_assert_cmpint(seal_check_open(seals, modes[n] | O_TRUNC | 0x8000), ==,
			                refused ? -EPERM : 0);
			g_assert_true(seal_flags_writable(modes[n] | O_APPEND) ==
			              (modes[n] != O_RDONLY));
		}
		g_assert_true(seal_needs_writes(seals) == ((seals & (GROW | WRITE | FUTURE)) != 0));
	}
}

static void test_write(void)
{
	static const struct {
		uint32_t seals;
		uint64_t offset, length, size;
		bool writeback;
		int error;
		uint64_t allowed;
	} rows[] = {
	        {WRITE, 0, 0, 10, false, 0, 0},
	        {SEAL_ALL, 50, 0, 10, false, 0, 0},
	        {WRITE, 0, 1, 10, false, -EPERM},
	        {FUTURE, 0, 1, 10, false, -EPERM},
	        /* of an earlier mapping */
	        {FUTURE, 0, 10, 10, true, 0, 10},
	        {WRITE, 0, 10, 10, true, -EPERM},
	        {FUTURE | WRITE, 0, 10, 10, true, -EPERM},
	        {SHRINK | SEAL | EXEC, 5, 100, 10, false, 0, 100},
	        /* no arithmetic overflows */
	        {GROW, UINT64_MAX, 1, 10, false, -EPERM},
	        {GROW, 1, UINT64_MAX, 10, false, -EPERM},
	        {GROW, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, false, -EPERM},
	        {0, UINT64_MAX, UINT64_MAX, 10, false, 0, UINT64_MAX},
	};
	for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
		uint64_t allowed = 77;
		int err = seal_check_write(rows[n].seals, rows[n].offset, rows[n].length,
		                           rows[n].size, rows[n].writeback, &allowed);
		if (err != rows[n].error || allowed != (err ? 77 : rows[n].allowed))
			g_error("row %u: %d and %lu", n, err, allowed);
	}
	/* Straddling, with whatever pages there are. */
	uint64_t page = getpagesize(), allowed = 0;
	g_assert_cmpint(seal_check_write(GROW, 10, 9 * page, 2 * page + 1, false, &allowed), ==, 0);
	g_assert_cmpuint(allowed, ==, 2 * page - 10);
	g_assert_cmpint(seal_check_write(GROW, 2 * page, 2, 2 * page + 1, false, &allowed), ==,
	                -EPERM);
	g_assert_cmpint(seal_check_write(GROW, 2 * page, 1, 2 * page + 1, false, &allowed), ==, 0);
	g_assert_cmpuint(allowed, ==, 1);
}

/* Operations that tmpfs lacks. Columns: sets of one seal each. */
static void test_fallocate(void)
{
	static const struct {
		int mode;
		uint64_t offset, length;
		uint32_t forbidding;
	} rows[] = {
	        {FALLOC_FL_ZERO_RANGE, 0, 10, WRITE | FUTURE},
	        {FALLOC_FL_ZERO_RANGE, 0, 11, WRITE | FUTURE | GROW},
	        {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 10, 1, WRITE | FUTURE | GROW},
	        {0x80 /* write zeroes */, 0, 10, WRITE | FUTURE},
	        {FALLOC_FL_COLLAPSE_RANGE, 0, 4, WRITE | FUTURE | SHRINK},
	        {FALLOC_FL_INSERT_RANGE, 0, 4, WRITE | FUTURE | GROW},
	        {FALLOC_FL_UNSHARE_RANGE, 0, 10, 0},
	        {FALLOC_FL_UNSHARE_RANGE, 0, 11, GROW},
	        {0, UINT64_MAX, UINT64_MAX, GROW},
	        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5, UINT64_MAX, WRITE | FUTURE},
	        {0x4000, 0, 1, WRITE | FUTURE | SHRINK | GROW},
	        {FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE, 0, 1,
	         WRITE | FUTURE | SHRINK | GROW},
	};
	for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++)
		for (uint32_t seals = 0; seals <= SEAL_ALL; seals++)
			g_assert_cmpint(seal_check_fallocate(seals, rows[n].mode, rows[n].offset,
			                                     rows[n].length, 10),
			                ==, seals & rows[n].forbidding ? -EPERM : 0);
}

static void test_text(void)
{
	for (uint32_t seals = 1; seals <= SEAL_ALL; seals++) {
		g_autofree char *text = seal_format(seals);
		uint32_t back = 0;
		g_assert_true(seal_parse(text, &back, NULL));
		g_assert_cmpuint(back, ==, seals);
	}
	g_autofree char *none = seal_format(0), *all = seal_format(SEAL_ALL);
	g_assert_cmpstr(none, ==, "");
	g_assert_cmpstr(all, ==, "seal,shrink,grow,write,future-write,exec");
	uint32_t seals = 0;
	g_assert_true(seal_parse("write,shrink,grow,future-write,exec,seal", &seals, NULL));
	g_assert_cmpuint(seals, ==, SEAL_ALL);
	g_assert_true(seal_parse("write,write", &seals, NULL));
	g_assert_cmpuint(seals, ==, WRITE);

	static const char *const wrong[] = {
	        "",       ",",     "write,", ",write", "write,,seal", "write, seal",
	        " write", "Write", "write;", "writ",   "writes",      "future_write",
	        "none",   "all",   "8"};
	for (unsigned n = 0; n < G_N_ELEMENTS(wrong); n++) {
		g_autoptr(GError) error = NULL;
		seals = 77;
		if (seal_parse(wrong[n], &seals, &error))
			g_error("'%s' was understood", wrong[n]);
		g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
		g_assert_null(strchr(error->message, '\n'));
		g_assert_cmpuint(seals, ==, 77);
	}
}

/* The numbers never change: programs are built with them. */
static void test_numbers(void)
{
	g_assert_cmphex(LACUNA_ADD_SEALS, ==, 0x4004ed01);
	g_assert_cmphex(LACUNA_GET_SEALS, ==, 0x8004ed02);
	g_assert_cmphex(SEAL | SHRINK | GROW | WRITE | FUTURE | EXEC, ==, SEAL_ALL);
	g_assert_cmphex(FUTURE, ==, F_SEAL_FUTURE_WRITE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/seal/add_order", test_add_order);
	g_test_add_func("/seal/open", test_open);
	g_test_add_func("/seal/write", test_write);
	g_test_add_func("/seal/fallocate", test_fallocate);
	g_test_add_func("/seal/text", test_text);
	g_test_add_func("/seal/numbers", test_numbers);
	return g_test_run();
}
