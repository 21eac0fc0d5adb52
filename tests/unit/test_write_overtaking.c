/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Opens, execs and their releases, in every order in which they may reach the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include "fuse/inode/write_access.h"

/* A kernel and its requests: writers and execs as it counts them, the RELEASEs under way, and
 * what we made of it. An exec is opened, then decided on, then ended. */
struct world {
	struct write_handles h;
	uint8_t writers, opened, running; /* the kernel's */
	uint8_t late_writers, late_execs; /* RELEASEs under way */
	uint8_t evicting;
};

static void world_check(const struct world *w, enum exec_writes policy)
{
	const struct write_handles *h = &w->h;
	struct write_handles copy = *h;
	g_assert_cmpuint(h->writers, ==, w->writers + w->late_writers);
	g_assert_cmpuint(h->execs, ==, w->opened + w->running + w->late_execs);
	/* A program that runs, or is about to, is not evicted. */
	if (w->opened + w->running > 0)
		g_assert_cmpint(write_handles_get(&copy), ==, -ETXTBSY);
	/* With no request under way the counts are the kernel's. */
	if (w->late_writers + w->late_execs + w->opened == 0 && policy == EXEC_WRITES_KERNEL)
		g_assert_cmpint(h->access.count[WRITE_ACCESS_EXEC], ==,
		                w->writers + w->evicting - w->running);
}

/* The steps that can be taken; false: not now. */
static bool world_step(struct world *w, unsigned step, enum exec_writes policy)
{
	struct write_handles *h = &w->h;
	int err;
	switch (step) {
	case 0: /* open for write */
		if (w->running > 0 || w->writers == 2)
			return false;
		g_assert_cmpint(write_handles_open(h, O_WRONLY, policy), ==, 0);
		w->writers++;
		return true;
	case 1: /* close */
		if (w->writers == 0)
			return false;
		w->writers--;
		w->late_writers++;
		return true;
	case 2: /* truncate(2) */
		if (w->running > 0)
			return false;
		g_assert_cmpint(write_handles_open(h, O_WRONLY, policy), ==, 0);
		write_handles_release(h, O_WRONLY, policy);
		return true;
	case 3: /* exec: OPEN */
		if (w->opened + w->running == 2)
			return false;
		err = write_handles_open(h, WRITE_HANDLES_EXEC, policy);
		g_assert_cmpint(err, ==, w->evicting ? -ETXTBSY : 0);
		w->opened += err == 0;
		return err == 0;
	case 4: /* exec: the kernel's decision */
		if (w->opened == 0)
			return false;
		w->opened--;
		if (w->writers > 0)
			w->late_execs++;
		else
			w->running++;
		return true;
	case 5: /* exit */
		if (w->running == 0)
			return false;
		w->running--;
		w->late_execs++;
		return true;
	case 6: /* a RELEASE comes in */
		if (w->late_writers == 0)
			return false;
		w->late_writers--;
		write_handles_release(h, O_WRONLY, policy);
		return true;
	case 7:
		if (w->late_execs == 0)
			return false;
		w->late_execs--;
		write_handles_release(h, WRITE_HANDLES_EXEC, policy);
		return true;
	case 8:
		if (w->evicting || write_handles_get(h) < 0)
			return false;
		w->evicting = 1;
		return true;
	default:
		if (!w->evicting)
			return false;
		write_handles_put(h);
		w->evicting = 0;
		return true;
	}
}

static uint64_t world_walk(const struct world *before, enum exec_writes policy, unsigned depth)
{
	uint64_t visited = 1;
	world_check(before, policy);
	for (unsigned step = 0; depth > 0 && step < 10; step++) {
		struct world w = *before;
		if (world_step(&w, step, policy))
			visited += world_walk(&w, policy, depth - 1);
	}
	return visited;
}

/* In every order of up to ten requests, no open that the kernel allows is refused, and no running
 * program is forgotten. */
static void test_overtaking(void)
{
	struct world none = {0};
	uint64_t visited = world_walk(&none, EXEC_WRITES_KERNEL, 10);
	g_test_message("%" G_GUINT64_FORMAT " states", visited);
	g_assert_cmpuint(visited, >, 1000000);
	world_walk(&none, EXEC_WRITES_ALLOW, 8);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/write_access/overtaking", test_overtaking);
	return g_test_run();
}
