/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* The checker of the lock order, which this program has in every build. */
#include "fetch/base/lock.h"
#include <glib.h>

#ifndef LOCKS_CHECKED
#error "build it with -DLOCKS_CHECKED"
#endif

static struct mutex first = MUTEX_INIT(RANK_INODE);
static struct mutex second, twin;
static struct rwlock shared;
LOCK_LIKE(way, RANK_WAY);
LOCK_LIKE(move, RANK_WAY);

static void locks_init(void)
{
	mutex_init(&second, RANK_FILL);
	mutex_init(&twin, RANK_FILL);
	rwlock_init(&shared, RANK_NAMES); /* between the two */
}

/* Each rank may follow a lower one, and locks may be left in any order. */
static void test_right_order(void)
{
	for (int n = 0; n < 2; n++) {
		mutex_lock(&first);
		rwlock_rdlock(&shared);
		mutex_lock(&second);
		mutex_unlock(&first);
		rwlock_unlock(&shared);
		mutex_unlock(&second);
		rwlock_wrlock(&shared);
		rwlock_unlock(&shared);
		mutex_lock(&first);
		mutex_unlock(&first);
	}
}

static void wrong_order(void) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock(&second);
	mutex_lock(&first);
}

static void one_rank(void) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock(&second);
	mutex_lock(&twin);
}

static void read_twice(void) NO_THREAD_SAFETY_ANALYSIS
{
	rwlock_rdlock(&shared);
	rwlock_rdlock(&shared);
}

/* The lock between them was left, the highest one was not. */
static void still_held(void) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock(&first);
	rwlock_rdlock(&shared);
	mutex_lock(&second);
	mutex_unlock(&first);
	rwlock_unlock(&shared);
	rwlock_wrlock(&shared);
}

static void below_a_trylock(void) NO_THREAD_SAFETY_ANALYSIS
{
	if (mutex_trylock(&second))
		mutex_lock(&first);
}

static void unlock_unheld(void) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock(&first);
	mutex_unlock(&second);
}

static void wait_with_another(void) NO_THREAD_SAFETY_ANALYSIS
{
	struct condition c;

	condition_init(&c);
	mutex_lock(&first);
	mutex_lock(&second);
	condition_wait(&c, &second);
}

/* What may be had more than once, but not beside another of its rank. */
static void way_in_move(void)
{
	lock_like_wanted_again(way);
	lock_like_taken(way);
	lock_like_wanted_again(way);
	lock_like_taken(way);
	lock_like_left(way);
	lock_like_left(way);
	lock_like_wanted(move);
	lock_like_taken(move);
	lock_like_wanted_again(way);
}

/* A thread has a lock again after its wait. */
static void held_after_wait(void) NO_THREAD_SAFETY_ANALYSIS
{
	struct condition c;
	struct timespec past = {0};

	condition_init(&c);
	mutex_lock(&second);
	g_assert_false(condition_wait_until(&c, &second, &past));
	mutex_lock(&first);
}

/* A line of each lock, with its place. */
static void assert_aborts(void (*f)(void), const char *text)
{
	if (g_test_subprocess()) {
		f();
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr(text);
}

static void test_wrong_order(void)
{
	assert_aborts(wrong_order, "*test_lock.c:*: wrong order: RANK_INODE*"
	                           "*test_lock.c:*: holds RANK_FILL*");
}

static void test_one_rank(void)
{
	assert_aborts(one_rank, "*: wrong order: RANK_FILL*: holds RANK_FILL*");
}

static void test_read_twice(void)
{
	assert_aborts(read_twice, "*: wrong order: RANK_NAMES*: holds RANK_NAMES*");
}

static void test_still_held(void)
{
	assert_aborts(still_held, "*: wrong order: RANK_NAMES*: holds RANK_FILL*");
}

static void test_below_a_trylock(void)
{
	assert_aborts(below_a_trylock, "*: wrong order: RANK_INODE*: holds RANK_FILL*");
}

static void test_unlock_unheld(void)
{
	assert_aborts(unlock_unheld, "*: not held: RANK_FILL*: holds RANK_INODE*");
}

static void test_wait_with_another(void)
{
	assert_aborts(wait_with_another,
	              "*: waits with another lock: RANK_FILL*: holds RANK_INODE*");
}

static void test_held_after_wait(void)
{
	assert_aborts(held_after_wait, "*: wrong order: RANK_INODE*: holds RANK_FILL*");
}

static void test_way_in_move(void)
{
	assert_aborts(way_in_move, "*: wrong order: way*: holds move*");
}

static void test_trylock(void) NO_THREAD_SAFETY_ANALYSIS
{
	mutex_lock(&second);
	g_assert_true(mutex_trylock(&first)); /* it cannot wait */
	mutex_unlock(&first);
	g_assert_false(mutex_trylock(&second));
	mutex_unlock(&second);
}

static void *run_other(void *unused)
{
	mutex_lock(&first);
	mutex_unlock(&first);
	return unused;
}

static void test_threads(void)
{
	pthread_t thread;

	mutex_lock(&second); /* of this thread alone */
	g_assert_cmpint(pthread_create(&thread, NULL, run_other, NULL), ==, 0);
	pthread_join(thread, NULL);
	mutex_unlock(&second);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	locks_init();
	g_test_add_func("/lock/right_order", test_right_order);
	g_test_add_func("/lock/wrong_order", test_wrong_order);
	g_test_add_func("/lock/one_rank", test_one_rank);
	g_test_add_func("/lock/read_twice", test_read_twice);
	g_test_add_func("/lock/still_held", test_still_held);
	g_test_add_func("/lock/below_a_trylock", test_below_a_trylock);
	g_test_add_func("/lock/unlock_unheld", test_unlock_unheld);
	g_test_add_func("/lock/wait_with_another", test_wait_with_another);
	g_test_add_func("/lock/held_after_wait", test_held_after_wait);
	g_test_add_func("/lock/way_in_move", test_way_in_move);
	g_test_add_func("/lock/trylock", test_trylock);
	g_test_add_func("/lock/threads", test_threads);
	return g_test_run();
}
