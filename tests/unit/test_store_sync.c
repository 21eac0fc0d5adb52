/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store during a slow sync, and after one that failed. fsync(2) is this file's own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/unit/store_box.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;      /* the next sync waits */
static bool waiting;   /* a sync waits */
static int fail_after; /* so many syncs work, then one fails; -1: none */

int fsync(int fd)
{
	bool fails;

	pthread_mutex_lock(&lock);
	waiting = held;
	pthread_cond_broadcast(&changed);
	while (held)
		pthread_cond_wait(&changed, &lock);
	fails = fail_after >= 0 && fail_after-- == 0;
	pthread_mutex_unlock(&lock);
	errno = EIO;
	return fails ? -1 : (int)syscall(SYS_fsync, fd);
}

static void hold(bool now)
{
	pthread_mutex_lock(&lock);
	held = now;
	waiting = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_for_sync(void)
{
	pthread_mutex_lock(&lock);
	while (!waiting)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static struct store_file *kept_file(struct box *b, uint64_t size)
{
	const struct store_origin origin = box_origin(1, size);
	const struct store_kept kept = {.remote = "f", .nlink = 1, .origin = &origin};
	struct store_file *f = box_create(b, "f", 1, size);

	g_assert_cmpint(store_file_keep(f, "f", &kept), ==, 0);
	return f;
}

static int64_t put(int fd, void *user)
{
	return pwrite(fd, user, 1000, 0);
}

static char mine[1000];

static void *overwrite(void *f)
{
	g_assert_cmpint(store_file_change(f, 0, 1000, put, mine), ==, 1000);
	return NULL;
}

static void *localise(void *f)
{
	g_assert_cmpint(store_file_localise(f, true), ==, 0);
	return NULL;
}

/* A transfer of remote data is refused at once, and does not wait: one thread serves all. */
static void test_nobody_waits_for_a_sync(void)
{
	const uint64_t sizes[] = {1000, 3 * 4096};
	char bytes[1000] = "theirs";

	memset(mine, 'm', sizeof mine);
	for (size_t n = 0; n < G_N_ELEMENTS(sizes); n++) {
		bool single = sizes[n] == 1000;
		struct box b;
		pthread_t thread;

		box_new(&b);
		struct store_file *f = kept_file(&b, sizes[n]);
		if (!single)
			box_fill(f, 1, 0, 2);
		hold(true);
		g_assert_cmpint(pthread_create(&thread, NULL, single ? overwrite : localise, f), ==,
		                0);
		wait_for_sync();
		if (single) {
			g_assert_cmpint(store_file_write(f, 0, bytes, 1000), ==, -ECANCELED);
			g_assert_cmpint(store_file_publish(f, 0, 1), ==, -ECANCELED);
			g_assert_cmpint(store_file_lend(f, 0, 1000), ==, -1);
		} else {
			g_assert_cmpint(box_publish(f, 1, 1), ==, 0);
		}
		g_assert_false(store_file_local(f));
		hold(false);
		pthread_join(thread, NULL);
		g_assert_true(store_file_local(f));
		g_assert_cmpint(store_file_write(f, 0, bytes, 1000), ==, -ECANCELED);
		g_assert_cmpint(pread(store_file_fd(f), bytes, 1000, 0), ==, 1000);
		if (single)
			g_assert_cmpmem(bytes, 1000, mine, 1000);
		else
			box_check(f, 1);
		store_file_close(f);
		box_free(&b);
	}
}

/* The record on the disk, and the one in memory, are what they were. */
static void test_the_second_sync_fails(void)
{
	struct box b;
	struct store_file *f;

	box_new(&b);
	f = kept_file(&b, 3 * 4096);
	box_fill(f, 1, 0, 2);
	fail_after = 1;
	g_assert_cmpint(store_file_localise(f, true), ==, -EIO);
	g_assert_cmpint(fail_after, ==, -1);
	g_assert_false(store_file_local(f));
	g_assert_cmpint(store_file_localise(f, true), ==, -EIO);
	g_assert_cmpint(store_file_change(f, 0, 1000, put, mine), ==, -EIO);
	g_assert_true(store_file_complete(f));
	store_file_close(f);
	g_assert_cmpint(store_close(g_steal_pointer(&b.store)), ==, -EIO);
	box_open(&b);
	f = box_open_file(&b, "f", 1);
	g_assert_false(store_file_local(f));
	g_assert_cmpuint(store_file_chunks_present(f), ==, 0);
	for (uint64_t k = 0; k < 3; k++)
		g_assert_cmpint(store_file_verify(f, k), ==, 0);
	box_check(f, 1);
	g_assert_cmpint(store_file_localise(f, true), ==, 0);
	store_file_close(f);
	box_free(&b);
}

/* The bytes were never synced: a record that calls them local would make them zeros after a power
 * loss. */
static void test_cut_before_it_is_local(void)
{
	const uint64_t sizes[] = {1000, 3 * 4096};

	for (size_t n = 0; n < G_N_ELEMENTS(sizes); n++) {
		struct box b;
		struct stat st;

		box_new(&b);
		struct store_file *f = kept_file(&b, sizes[n]);
		box_fill(f, 1, 0, (sizes[n] - 1) / 4096);
		store_file_close(f); /* opened again whole, and for reading alone */
		f = box_open_file(&b, "f", 1);
		g_assert_cmpint(store_file_localise(f, false), ==, 0);
		g_assert_true(store_file_local(f));
		g_assert_cmpint(fstat(store_file_fd(f), &st), ==, 0);
		g_assert_cmpuint(st.st_size, ==, 0);
		store_file_close(f);
		box_free(&b);
	}
}

/* Without its epoch file, too, which could not be written. */
static void test_an_epoch_that_cannot_be_ended(void)
{
	struct box b;
	struct store_file *f;
	g_autofree char *epoch = NULL;

	box_new(&b);
	f = kept_file(&b, 3 * 4096);
	box_fill(f, 1, 0, 2);
	epoch = box_state(&b, "epoch");
	close(b.store->epoch.fd); /* no write to it succeeds */
	b.store->epoch.fd = open(epoch, O_RDONLY | O_CLOEXEC);
	fail_after = 0;
	g_assert_cmpint(store_file_localise(f, true), ==, -EIO);
	g_assert_false(box_exists(epoch));
	store_file_close(f);
	box_crash(&b);
	box_open(&b);
	f = box_open_file(&b, "f", 1);
	g_assert_cmpuint(store_file_chunks_present(f), ==, 0);
	g_assert_cmpuint(store_file_doubts(f), ==, 3);
	store_file_close(f);
	box_free(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* warnings are expected here */
	g_log_set_always_fatal(G_LOG_LEVEL_ERROR | G_LOG_FATAL_MASK);
	fail_after = -1;
	g_test_add_func("/sync/nobody-waits", test_nobody_waits_for_a_sync);
	g_test_add_func("/sync/second-fails", test_the_second_sync_fails);
	g_test_add_func("/sync/cut", test_cut_before_it_is_local);
	g_test_add_func("/sync/epoch-stays", test_an_epoch_that_cannot_be_ended);
	return g_test_run();
}
