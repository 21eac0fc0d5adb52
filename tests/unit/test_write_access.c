/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/write_access.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include "fuse/inode/exec_writes.h"

G_STATIC_ASSERT(sizeof(struct write_access) == 8);

/* Kinds of access that can be held; step HOLDS + n releases that of step n. */
enum raw { GET, DENY_ALL, DENY_EXEC, HOLDS };

/* Which access excludes which. */
static const bool excludes[HOLDS][HOLDS] = {
        [GET] = {[DENY_ALL] = true, [DENY_EXEC] = true},
        [DENY_ALL] = {[GET] = true},
        [DENY_EXEC] = {[GET] = true},
};

static int raw_hold(struct write_access *w, enum raw what)
{
	if (what == GET)
		return write_access_get(w);
	return write_access_deny(w, what == DENY_ALL ? WRITE_ACCESS_ALL : WRITE_ACCESS_EXEC);
}

static void raw_let_go(struct write_access *w, enum raw what)
{
	if (what == GET)
		write_access_put(w);
	else
		write_access_allow(w, what == DENY_ALL ? WRITE_ACCESS_ALL : WRITE_ACCESS_EXEC);
}

struct raw_state {
	struct write_access w;
	unsigned held[HOLDS]; /* the model: how often each */
};

/* Every sequence of `depth` steps from here, against sets of holders. */
static uint64_t raw_walk(const struct raw_state *before, unsigned depth)
{
	const unsigned *held = before->held;
	const struct write_access *w = &before->w;
	uint64_t visited = 1;
	g_assert_true(write_access_ok(w, WRITE_ACCESS_ALL) == (held[DENY_ALL] == 0));
	g_assert_true(write_access_ok(w, WRITE_ACCESS_EXEC) == (held[DENY_EXEC] == 0));
	for (enum raw what = 0; depth > 0 && what < HOLDS; what++) {
		struct raw_state after = *before;
		int want = 0;
		for (enum raw other = 0; other < HOLDS; other++)
			if (held[other] > 0 && excludes[what][other])
				want = -ETXTBSY;
		g_assert_cmpint(raw_hold(&after.w, what), ==, want);
		if (want)
			g_assert_cmpmem(&after.w, sizeof(after.w), w, sizeof(*w));
		else
			after.held[what]++;
		visited += raw_walk(&after, depth - 1);

		if (held[what] > 0) {
			after = *before;
			raw_let_go(&after.w, what);
			after.held[what]--;
			visited += raw_walk(&after, depth - 1);
		}
	}
	return visited;
}

static void test_levels_model(void)
{
	struct raw_state nobody = {0};
	uint64_t visited = raw_walk(&nobody, 9);
	g_test_message("%" G_GUINT64_FORMAT " states", visited);
	g_assert_cmpuint(visited, >, 300000);
}

/* Steps of a table, each with '!' where it is refused and changes nothing. */
static int handles_step(struct write_handles *h, char step, enum exec_writes policy)
{
	static const struct {
		char open, release;
		int flags;
	} opens[] = {
	        {'r', 'R', O_RDONLY},
	        {'w', 'W', O_WRONLY},
	        {'a', 'A', O_WRONLY | O_APPEND},
	        {'b', 'B', O_RDWR},
	        {'i', 'I', O_ACCMODE},
	        {'x', 'X', WRITE_HANDLES_EXEC | 0x8000},
	};
	for (unsigned n = 0; n < G_N_ELEMENTS(opens); n++) {
		if (step == opens[n].open)
			return write_handles_open(h, opens[n].flags, policy);
		if (step == opens[n].release) {
			write_handles_release(h, opens[n].flags, policy);
			return 0;
		}
	}
	int err = 0;
	switch (step) {
	case 't': /* truncate(2) */
		err = write_handles_open(h, O_WRONLY, policy);
		if (!err)
			write_handles_release(h, O_WRONLY, policy);
		return err;
	case 'e': /* evict, refresh */
		return write_handles_get(h);
	case 'E':
		write_handles_put(h);
		return 0;
	case 'v': /* verify, seal */
		return write_access_deny(&h->access, WRITE_ACCESS_ALL);
	case 'V':
		write_access_allow(&h->access, WRITE_ACCESS_ALL);
		return 0;
	case 'd': /* another denier of the same level */
		return write_access_deny(&h->access, WRITE_ACCESS_EXEC);
	case 'D':
		write_access_allow(&h->access, WRITE_ACCESS_EXEC);
		return 0;
	default:
		g_assert_not_reached();
	}
}

struct row {
	const char *name;
	enum exec_writes policy;
	const char *steps;
};

static const struct row rows[] = {
        /* The classic rule, where we alone see to it */
        {"no write open while running", EXEC_WRITES_DENY, "x w! b! a! t! X w W b B"},
        {"reading, a second exec", EXEC_WRITES_DENY, "x r x R X w! X w W"},
        {"no exec while open for write", EXEC_WRITES_DENY, "w x! W x X"},
        {"until the last writer has gone", EXEC_WRITES_DENY, "b w x! W x! B x X"},
        {"a mapping keeps its handle", EXEC_WRITES_DENY, "b r R x! B x X"},
        {"access mode 3 is neither", EXEC_WRITES_DENY, "i x w! I X i w W I"},
        {"a loader of a script, denied while loading", EXEC_WRITES_DENY, "x x w! X w! X w W"},
        {"a failed exec", EXEC_WRITES_DENY, "w x! x! W x X"},
        {"another denier", EXEC_WRITES_DENY, "d x w! X w! D w W"},
        /* The kernel sees to it: what reaches us is never refused */
        {"RELEASE of an exec overtaken by a write open", EXEC_WRITES_KERNEL, "x w X W"},
        {"by a truncation", EXEC_WRITES_KERNEL, "x t X e E"},
        {"by a write open that has ended again", EXEC_WRITES_KERNEL, "x w W e! X e E"},
        {"by two, and a new exec", EXEC_WRITES_KERNEL, "x x w b X W x B e! X e! X e E"},
        {"RELEASE of a writer overtaken by an exec", EXEC_WRITES_KERNEL, "w x e! W e! X e E"},
        {"an exec that the kernel refuses", EXEC_WRITES_KERNEL, "w x X W"},
        {"a late RELEASE is not counted twice", EXEC_WRITES_KERNEL,
         "x w X x W e! d D X e E d w! D"},
        {"another denier stays in the way", EXEC_WRITES_KERNEL, "d x w! X w! D w W"},
        {"and between execs", EXEC_WRITES_KERNEL, "x d w! D w X W d x w! D t X"},
        /* allow: nothing of ours, but what is running is not evicted */
        {"writers of a running program", EXEC_WRITES_ALLOW, "x w t b W B X"},
        {"exec of what is written", EXEC_WRITES_ALLOW, "w x x W X X"},
        {"evict of a running program", EXEC_WRITES_ALLOW, "x e! t e! X e x! E x X"},
        {"another denier, allowed or not", EXEC_WRITES_ALLOW, "x d w! X w! D w x d! X W"},
        /* Both levels */
        {"ALL comes between", EXEC_WRITES_KERNEL, "v w! t! e! V w v! W v V"},
        {"ALL and EXEC side by side", EXEC_WRITES_KERNEL, "x v w! V w v! X W"},
        {"a write open denied by ALL leaves the exec denied", EXEC_WRITES_KERNEL,
         "x v w! t! V d D e! X e E"},
        {"verify beside writers", EXEC_WRITES_DENY, "w v! W v x X V"},
        /* Evicting and refreshing */
        {"evict while running", EXEC_WRITES_KERNEL, "x e! X e E"},
        {"exec while evicting", EXEC_WRITES_KERNEL, "e x! r R E x X"},
        {"exec while evicting, beside a writer", EXEC_WRITES_KERNEL, "w e x! W x! E x X"},
        {"write open while evicting", EXEC_WRITES_DENY, "e w W e x! E x! E x X"},
};

static void test_rows(void)
{
	for (unsigned n = 0; n < G_N_ELEMENTS(rows); n++) {
		struct write_handles h = {0};
		for (const char *p = rows[n].steps; *p; p++) {
			if (*p == ' ')
				continue;
			struct write_handles before = h;
			bool refused = p[1] == '!';
			int err = handles_step(&h, *p, rows[n].policy);
			if (err != (refused ? -ETXTBSY : 0))
				g_error("%s: %s: step %u: %d", rows[n].name, rows[n].steps,
				        (unsigned)(p - rows[n].steps), err);
			if (refused) {
				g_assert_cmpmem(&h, sizeof(h), &before, sizeof(before));
				p++;
			}
		}
		const struct write_handles none = {0};
		if (memcmp(&h, &none, sizeof(h)) != 0)
			g_error("%s: %s: something is left", rows[n].name, rows[n].steps);
	}
}

static void test_predicates(void)
{
	struct write_handles h = {0};
	g_assert_cmpint(write_handles_open(&h, O_WRONLY, EXEC_WRITES_KERNEL), ==, 0);
	g_assert_true(write_handles_is_written(&h));
	g_assert_false(write_handles_may_be_mapped(&h));
	g_assert_cmpint(write_handles_open(&h, O_RDWR, EXEC_WRITES_KERNEL), ==, 0);
	g_assert_true(write_handles_may_be_mapped(&h));
	write_handles_release(&h, O_WRONLY, EXEC_WRITES_KERNEL);
	g_assert_true(write_handles_is_written(&h) && write_handles_may_be_mapped(&h));
	write_handles_release(&h, O_RDWR, EXEC_WRITES_KERNEL);
	g_assert_false(write_handles_is_written(&h) || write_handles_may_be_mapped(&h));
	g_assert_cmpint(write_handles_get(&h), ==, 0);
	g_assert_false(write_handles_is_written(&h));
	write_handles_put(&h);
	g_assert_false(write_handles_is_running(&h));
	g_assert_cmpint(write_handles_open(&h, WRITE_HANDLES_EXEC, EXEC_WRITES_ALLOW), ==, 0);
	g_assert_true(write_handles_is_running(&h));
	g_assert_true(write_access_ok(&h.access, WRITE_ACCESS_EXEC));
}

/* Programming errors, which end the program. */
static const char *const errors[] = {
        "put without get",
        "allow without deny",
        "too many writers",
        "too many deniers",
        "release without open",
        "exec released without open",
        "O_RDWR released for O_WRONLY",
};

static void test_assertions(void)
{
	for (unsigned n = 0; n < G_N_ELEMENTS(errors); n++) {
		g_autofree char *path = g_strdup_printf("/write_access/subprocess/%u", n);
		g_test_trap_subprocess(path, 0, 0);
		if (g_test_trap_has_passed())
			g_error("%s: let pass", errors[n]);
		g_test_trap_assert_stderr("*ERROR*write_access.c*assertion failed*");
	}
}

static void error_run(gconstpointer user)
{
	struct write_handles h = {0};
	struct write_access *w = &h.access;
	switch (GPOINTER_TO_UINT(user)) {
	case 0:
		write_access_put(w);
		break;
	case 1:
		write_access_allow(w, WRITE_ACCESS_EXEC);
		break;
	case 2:
		w->count[WRITE_ACCESS_ALL] = INT32_MAX;
		write_access_get(w);
		break;
	case 3:
		w->count[WRITE_ACCESS_ALL] = INT32_MIN;
		write_access_deny(w, WRITE_ACCESS_ALL);
		break;
	case 4:
		write_handles_release(&h, O_WRONLY, EXEC_WRITES_KERNEL);
		break;
	case 5:
		write_handles_release(&h, WRITE_HANDLES_EXEC, EXEC_WRITES_KERNEL);
		break;
	default:
		write_handles_open(&h, O_WRONLY, EXEC_WRITES_KERNEL);
		write_handles_release(&h, O_RDWR, EXEC_WRITES_KERNEL);
		break;
	}
}

/* At the edge, but not past it. */
static void test_edges(void)
{
	struct write_access w = {.count = {INT32_MAX - 1, INT32_MAX - 1}};
	g_assert_cmpint(write_access_get(&w), ==, 0);
	g_assert_cmpint(w.count[WRITE_ACCESS_EXEC], ==, INT32_MAX);
	write_access_put(&w);
	w = (struct write_access){.count = {INT32_MIN + 1, 0}};
	g_assert_cmpint(write_access_deny(&w, WRITE_ACCESS_ALL), ==, 0);
	g_assert_cmpint(w.count[WRITE_ACCESS_ALL], ==, INT32_MIN);
	g_assert_cmpint(write_access_get(&w), ==, -ETXTBSY);
	write_access_allow(&w, WRITE_ACCESS_ALL);
}

/* The policy follows the setting; the probe leaves no child and ends in one of two answers,
 * twice the same. */
static void test_policy(void)
{
	g_assert_cmpint(exec_writes_policy(true), ==, EXEC_WRITES_ALLOW);
	enum exec_writes first = exec_writes_policy(false);
	g_assert_true(first == EXEC_WRITES_KERNEL || first == EXEC_WRITES_DENY);
	g_assert_cmpint(exec_writes_policy(false), ==, first);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/write_access/levels_model", test_levels_model);
	g_test_add_func("/write_access/rows", test_rows);
	g_test_add_func("/write_access/predicates", test_predicates);
	g_test_add_func("/write_access/edges", test_edges);
	g_test_add_func("/write_access/policy", test_policy);
	g_test_add_func("/write_access/assertions", test_assertions);
	for (unsigned n = 0; n < G_N_ELEMENTS(errors); n++) {
		g_autofree char *path = g_strdup_printf("/write_access/subprocess/%u", n);
		g_test_add_data_func(path, GUINT_TO_POINTER(n), error_run);
	}
	return g_test_run();
}
