/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A directory source: ranges of files, through a buffer and placed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/unit/dir_box.h"

#define MIB (1 << 20)

static int new_local(uint64_t size)
{
	int fd = open(g_get_tmp_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	return fd;
}

static char *noise(size_t length)
{
	char *bytes = g_malloc(length);

	for (size_t i = 0; i < length; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	return bytes;
}

static void check_range(int fd, const char *truth, uint64_t offset, uint64_t length)
{
	g_autofree char *bytes = g_malloc(length);

	g_assert_cmpint(pread(fd, bytes, length, (off_t)offset), ==, length);
	g_assert_true(memcmp(bytes, truth + offset, length) == 0);
}

static void read_well(struct dir_box *b, const char *path, const char *truth, uint64_t size,
                      uint64_t offset, uint64_t length, bool place)
{
	struct dir_read r = {.offset = offset, .length = length, .size = size, .place = place};
	uint64_t end = MIN(length, size - offset);

	r.fd = new_local(size);
	g_assert_true(dir_box_read(b, path, &r));
	g_assert_cmpuint(r.got, ==, end);
	if (place)
		g_assert_cmpuint(r.placed, ==, r.calls);
	check_range(r.fd, truth, offset, end);
	close(r.fd);
}

static void test_ranges(const void *place)
{
	struct dir_box b;
	const uint64_t size = 3 * MIB + 1234;
	g_autofree char *truth = noise(size);

	dir_box_new(&b);
	dir_box_put(&b, "f", truth, size);
	read_well(&b, "f", truth, size, 0, size, place != NULL);
	read_well(&b, "f", truth, size, 0, 1, place != NULL);
	read_well(&b, "f", truth, size, size - 1, 1, place != NULL);
	read_well(&b, "f", truth, size, size - 1, 1000, place != NULL); /* past the end */
	read_well(&b, "f", truth, size, 65536, 65536, place != NULL);
	read_well(&b, "f", truth, size, 12345, 2 * MIB, place != NULL);
	dir_box_free(&b);
}

/* Without a copy by the kernel, data goes through the buffer. */
static void test_no_copy(void)
{
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_copy_file_range, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};
	struct dir_box b;
	const uint64_t size = 2 * MIB + 77;
	g_autofree char *truth = NULL;
	struct dir_read r = {.length = size, .size = size, .place = true};

	if (!g_test_subprocess()) {
		g_test_trap_subprocess(NULL, 0, 0);
		g_test_trap_assert_passed();
		return;
	}
	g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
	g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
	truth = noise(size);
	dir_box_new(&b);
	dir_box_put(&b, "f", truth, size);
	r.fd = new_local(size);
	g_assert_true(dir_box_read(&b, "f", &r));
	g_assert_cmpuint(r.placed, ==, 0);
	check_range(r.fd, truth, 0, size);
	close(r.fd);
	dir_box_free(&b);
}

/* Holes stay holes, also where an earlier attempt left data. */
static void test_sparse(void)
{
	struct dir_box b;
	const uint64_t size = 8 * MIB;
	g_autofree char *truth = g_malloc0(size), *dirt = noise(size);
	struct dir_read r = {.length = size, .size = size, .place = true};
	struct stat st;
	int fd;

	dir_box_new(&b);
	dir_box_run(&b, "truncate -s 8M f; truncate -s 8M hole");
	fd = openat(b.fd, "f", O_WRONLY);
	memcpy(truth + 3 * MIB + 5000, "in the middle", 13);
	g_assert_cmpint(pwrite(fd, "in the middle", 13, 3 * MIB + 5000), ==, 13);
	close(fd);
	r.fd = new_local(size);
	g_assert_cmpint(pwrite(r.fd, dirt, size, 0), ==, size);
	g_assert_true(dir_box_read(&b, "f", &r));
	check_range(r.fd, truth, 0, size);
	fstat(r.fd, &st);
	g_assert_cmpint(st.st_blocks * 512, <=, 65536);
	close(r.fd);
	read_well(&b, "f", truth, size, 3 * MIB, 5500, true);
	read_well(&b, "f", truth, size, 3 * MIB + 5001, 4 * MIB, true);
	read_well(&b, "f", truth, size, 0, size, false);
	memset(truth, 0, size);
	read_well(&b, "hole", truth, size, 0, size, true);
	read_well(&b, "hole", truth, size, MIB - 1, 12345, false);
	dir_box_free(&b);
}

static void read_fails(struct dir_box *b, const char *path, struct dir_read *r,
                       enum fetch_error code)
{
	g_assert_false(dir_box_read(b, path, r));
	g_assert_error(r->error, FETCH_ERROR, (int)code);
	dir_read_clear(r);
}

static void test_versions(void)
{
	struct dir_box b;
	struct dir_read r = {.length = 5, .size = 5, .fd = -1};
	source_version version;

	dir_box_new(&b);
	dir_box_put(&b, "f", "12345", 5);
	g_assert_true(dir_box_read(&b, "f", &r));
	version = r.read.version;
	r = (struct dir_read){.length = 5, .size = 5, .fd = -1, .pinned = version};
	g_assert_true(dir_box_read(&b, "f", &r));
	r = (struct dir_read){.length = 5, .size = 6, .fd = -1};
	read_fails(&b, "f", &r, FETCH_CHANGED);
	g_assert_false(r.begun);
	/* written again at once: within the same tick of the clock, perhaps */
	for (unsigned i = 0; i < 50; i++) {
		dir_box_put(&b, "f", i % 2 ? "12345" : "54321", 5);
		r = (struct dir_read){.length = 5, .size = 5, .fd = -1, .pinned = version};
		read_fails(&b, "f", &r, FETCH_CHANGED);
		g_assert_false(r.begun);
		r = (struct dir_read){.length = 5, .size = 5, .fd = -1};
		g_assert_true(dir_box_read(&b, "f", &r));
		g_assert_cmpuint(r.read.version, !=, version);
		version = r.read.version;
	}
	dir_box_free(&b);
}

static void change_it(struct dir_read *r, uint64_t offset)
{
	struct dir_box *b = r->user;
	int fd;

	if (offset != MIB)
		return;
	fd = openat(b->fd, "f", O_WRONLY);
	g_assert_cmpint(pwrite(fd, "changed", 7, 2 * MIB), ==, 7);
	close(fd);
}

/* The file changes while it is read: all delivered data is of one version, and delivery stops. */
static void test_changes_meanwhile(const void *place)
{
	struct dir_box b;
	const uint64_t size = 4 * MIB;
	g_autofree char *truth = noise(size);
	struct dir_read r = {.length = size, .size = size, .place = place != NULL, .user = &b};

	dir_box_new(&b);
	dir_box_put(&b, "f", truth, size);
	r.fd = new_local(size);
	r.before_data = change_it;
	read_fails(&b, "f", &r, FETCH_CHANGED);
	g_assert_cmpuint(r.got, ==, 2 * MIB);
	check_range(r.fd, truth, 0, 2 * MIB);
	close(r.fd);
	dir_box_free(&b);
}

static void cut_it(struct dir_read *r, uint64_t offset)
{
	struct dir_box *b = r->user;
	g_autofree char *path = g_build_filename(b->root, "tree", "f", NULL);

	g_assert_cmpint(truncate(path, MIB + 5), ==, 0);
}

static void test_cut_meanwhile(const void *place)
{
	struct dir_box b;
	const uint64_t size = 4 * MIB;
	g_autofree char *truth = noise(size);
	struct dir_read r = {.length = size, .size = size, .place = place != NULL, .user = &b};

	dir_box_new(&b);
	dir_box_put(&b, "f", truth, size);
	r.fd = new_local(size);
	r.before_data = cut_it;
	read_fails(&b, "f", &r, FETCH_CHANGED);
	g_assert_cmpuint(r.got, ==, MIB);
	close(r.fd);
	dir_box_free(&b);
}

static void test_failures(void)
{
	struct dir_box b;
	struct dir_read r;
	const struct dir_read five = {.length = 5, .size = 5, .fd = -1};

	dir_box_new(&b);
	dir_box_put(&b, "f", "12345", 5);
	symlinkat("f", b.fd, "link");
	symlinkat("/etc", b.fd, "top");
	mkfifoat(b.fd, "fifo", 0600);
	mkdirat(b.fd, "d", 0755);
	r = five;
	read_fails(&b, "none", &r, FETCH_MISSING);
	r = five;
	read_fails(&b, "link", &r, FETCH_MISSING);
	r = five;
	read_fails(&b, "top/passwd", &r, FETCH_MISSING);
	r = five;
	read_fails(&b, "fifo", &r, FETCH_CHANGED); /* and did not wait for a writer */
	r = five;
	read_fails(&b, "d", &r, FETCH_CHANGED);
	if (geteuid() == 0) {
		fchmodat(b.fd, "f", 0, 0);
		g_assert_cmpint(seteuid(65534), ==, 0);
		r = five;
		read_fails(&b, "f", &r, FETCH_DENIED);
		g_assert_cmpint(seteuid(0), ==, 0);
	}
	dir_box_free(&b);
}

static void test_refused(void)
{
	struct dir_box b;
	struct dir_read r = {.length = 5, .size = 5, .fd = -1, .refuse_begin = -ENOSPC};

	dir_box_new(&b);
	dir_box_put(&b, "f", "12345", 5);
	g_assert_false(dir_box_read(&b, "f", &r));
	g_assert_error(r.error, LOCAL_ERROR, ENOSPC);
	g_assert_cmpuint(r.calls, ==, 0);
	dir_read_clear(&r);
	r = (struct dir_read){.length = 5, .size = 5, .fd = -1, .refuse_data = -EDQUOT};
	g_assert_false(dir_box_read(&b, "f", &r));
	g_assert_error(r.error, LOCAL_ERROR, EDQUOT);
	g_assert_cmpuint(r.calls, ==, 1);
	dir_read_clear(&r);
	dir_box_free(&b);
}

static void be_slow(struct dir_read *r, uint64_t offset)
{
	g_usleep(2000);
}

/* Requests under way and queued ones end, with one `done` each. */
static void test_close(void)
{
	struct dir_box b;
	const uint64_t size = 64 * MIB;
	struct dir_read r[20];
	unsigned cancelled = 0;

	dir_box_new(&b);
	dir_box_run(&b, "truncate -s 64M f");
	for (unsigned i = 0; i < G_N_ELEMENTS(r); i++) {
		r[i] = (struct dir_read){.length = size, .size = size, .fd = -1};
		r[i].before_data = be_slow;
		dir_box_submit(&b, "f", &r[i]);
	}
	g_usleep(10000);
	source_close(g_steal_pointer(&b.source));
	for (unsigned i = 0; i < G_N_ELEMENTS(r); i++) {
		g_assert_true(r[i].done);
		cancelled += g_error_matches(r[i].error, FETCH_ERROR, FETCH_CANCELLED);
		dir_read_clear(&r[i]);
	}
	g_assert_cmpuint(cancelled, ==, G_N_ELEMENTS(r));
	dir_box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/dir/ranges/buffer", NULL, test_ranges);
	g_test_add_data_func("/dir/ranges/placed", "", test_ranges);
	g_test_add_func("/dir/no-copy", test_no_copy);
	g_test_add_func("/dir/sparse", test_sparse);
	g_test_add_func("/dir/versions", test_versions);
	g_test_add_data_func("/dir/changes/buffer", NULL, test_changes_meanwhile);
	g_test_add_data_func("/dir/changes/placed", "", test_changes_meanwhile);
	g_test_add_data_func("/dir/cut/buffer", NULL, test_cut_meanwhile);
	g_test_add_data_func("/dir/cut/placed", "", test_cut_meanwhile);
	g_test_add_func("/dir/read-failures", test_failures);
	g_test_add_func("/dir/refused", test_refused);
	g_test_add_func("/dir/close", test_close);
	return g_test_run();
}
