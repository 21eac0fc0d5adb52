/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* Several threads at one handler: nothing is lost, doubled or left waiting. */
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/lacuna_peer.h"

enum { THREADS = 8, EVENTS = 1000 };

struct nexter {
	struct lacuna_handler *h;
	pthread_t thread;
	int result;
	uint64_t id;
};

static void *next_main(void *data)
{
	struct nexter *n = data;
	struct lacuna_request *r = NULL;
	n->result = lacuna_next(n->h, -1, &r);
	if (n->result == 0) {
		n->id = r->id;
		lacuna_respond(n->h, r, LACUNA_ALLOW, 0);
	}
	return NULL;
}

static void nexter_start(struct nexter *n, struct lacuna_handler *h)
{
	*n = (struct nexter){.h = h};
	g_assert_cmpint(pthread_create(&n->thread, NULL, next_main, n), ==, 0);
}

/* Waits until so many threads are in a call that lacuna_close() waits for. */
static void wait_inside(struct lacuna_handler *h, unsigned count)
{
	unsigned users = 0;
	while (users < count) {
		g_usleep(1000);
		pthread_mutex_lock(&h->lock);
		users = h->users;
		pthread_mutex_unlock(&h->lock);
	}
}

/* Answers marks: each with its scope as the error, after `events` events. */
struct marked {
	struct peer *p;
	pthread_t thread;
	unsigned marks, events;
};

static void *marked_main(void *data)
{
	struct marked *m = data;
	for (unsigned i = 0; i < m->marks; i++) {
		struct lacuna_mark mark;
		peer_receive(m->p, &mark, sizeof(mark));
		g_assert_cmpuint(mark.header.length, ==, 32);
		g_assert_cmpuint(mark.header.type, ==, LACUNA_MARK);
		for (unsigned e = 0; e < m->events; e++)
			peer_event(m->p, i * m->events + e + 1);
		peer_result(m->p, mark.header.id, (uint32_t)mark.ino);
	}
	return NULL;
}

static void marked_start(struct marked *m, struct peer *p, unsigned marks, unsigned events)
{
	*m = (struct marked){.p = p, .marks = marks, .events = events};
	g_assert_cmpint(pthread_create(&m->thread, NULL, marked_main, m), ==, 0);
}

static bool readable(struct lacuna_handler *h)
{
	struct pollfd p = {.fd = lacuna_fd(h), .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

/* No thread is in lacuna_next(): events that arrive before the result are queued, and announced. */
static void test_mark_alone(void)
{
	struct peer p;
	struct marked m;
	struct lacuna_request *r;
	peer_open(&p);
	marked_start(&m, &p, 4, 3);
	for (uint64_t i = 0; i < 4; i++)
		g_assert_cmpint(lacuna_mark_ino(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, i + 1), ==,
		                -(int)(i + 1));
	pthread_join(m.thread, NULL);
	for (uint64_t id = 1; id <= 12; id++) {
		g_assert_true(readable(p.h));
		g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, 0);
		g_assert_cmpuint(r->id, ==, id);
		lacuna_respond(p.h, r, LACUNA_ALLOW, 0);
	}
	g_assert_false(readable(p.h));
	g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EAGAIN);
	g_assert_cmpuint(lacuna_refusals(p.h), ==, 0);
	peer_close(&p);
}

static void test_mark_beside_next(void)
{
	struct peer p;
	struct marked m;
	struct nexter n[THREADS];
	uint64_t seen = 0;
	peer_open(&p);
	for (unsigned i = 0; i < THREADS; i++)
		nexter_start(&n[i], p.h);
	marked_start(&m, &p, 20, 0);
	for (int i = 1; i <= 20; i++)
		g_assert_cmpint(
		        lacuna_mark_ino(p.h, LACUNA_MARK_REMOVE, LACUNA_MARK_CHILDREN, (uint64_t)i),
		        ==, -i);
	pthread_join(m.thread, NULL);
	for (uint64_t id = 1; id <= THREADS; id++)
		peer_event(&p, id);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(n[i].thread, NULL);
		g_assert_cmpint(n[i].result, ==, 0);
		seen |= UINT64_C(1) << n[i].id;
	}
	g_assert_cmpuint(seen, ==, 0x1fe);
	peer_close(&p);
}

static void test_mark_arguments(void)
{
	static const struct {
		unsigned flags, scope;
		uint64_t ino;
	} bad[] = {
	        {0, LACUNA_MARK_FILE, 1},
	        {3, LACUNA_MARK_FILE, 1},
	        {4, LACUNA_MARK_FILE, 1},
	        {7, LACUNA_MARK_FILE, 1},
	        {9, LACUNA_MARK_MOUNT, 0},
	        {16, LACUNA_MARK_MOUNT, 0},
	        {LACUNA_MARK_ADD, 0, 1},
	        {LACUNA_MARK_ADD, 4, 1},
	        {LACUNA_MARK_ADD, LACUNA_MARK_FILE, 0},
	        {LACUNA_MARK_ADD, LACUNA_MARK_CHILDREN, 0},
	};
	struct peer p;
	peer_open(&p);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_cmpint(lacuna_mark_ino(p.h, bad[i].flags, bad[i].scope, bad[i].ino), ==,
		                -EINVAL);
	g_assert_cmpint(lacuna_mark(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, NULL), ==, -EINVAL);
	g_assert_cmpint(lacuna_mark(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, "/proc/self/exe"), ==,
	                -EXDEV);
	g_assert_cmpint(lacuna_mark(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, "/nowhere"), ==,
	                -ENOENT);
	g_assert_cmpint(lacuna_mark_fd(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, p.scratch), ==,
	                -EXDEV);
	g_assert_cmpint(lacuna_mark_fd(p.h, LACUNA_MARK_ADD, LACUNA_MARK_FILE, -1), ==, -EBADF);
	peer_close(&p);
}

/* Waiting threads learn that the connection ended, and why. */
static void expect_end(int (*end)(struct peer *p), int expected)
{
	struct peer p;
	struct nexter n[THREADS];
	peer_open(&p);
	for (unsigned i = 0; i < THREADS; i++)
		nexter_start(&n[i], p.h);
	wait_inside(p.h, THREADS);
	g_assert_cmpint(end(&p), ==, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(n[i].thread, NULL);
		g_assert_cmpint(n[i].result, ==, expected);
	}
	peer_close(&p);
}

static int end_stop(struct peer *p)
{
	lacuna_stop(p->h);
	lacuna_stop(p->h);
	return 0;
}

static int end_close(struct peer *p)
{
	lacuna_close(p->h, 1);
	p->h = NULL;
	return 0;
}

static int end_gone(struct peer *p)
{
	return shutdown(p->fd, SHUT_RDWR);
}

static int end_garbage(struct peer *p)
{
	peer_send(p, "a line of text\n and one more", 28, NULL, 0);
	return 0;
}

static void test_ends(void)
{
	expect_end(end_stop, -ESHUTDOWN);
	expect_end(end_close, -ESHUTDOWN);
	expect_end(end_gone, -ECONNRESET);
	expect_end(end_garbage, -EPROTO);
}

struct work {
	struct lacuna_handler *h;
	pthread_t thread;
	atomic_uint answered[EVENTS + 1];
	unsigned stop_at;
	atomic_uint count;
	int result;
};

static int work_answer(void *user, const struct lacuna_request *r)
{
	struct work *w = user;
	char byte = 1;
	atomic_fetch_add(&w->answered[r->id], 1);
	if (write(r->fd, &byte, 1) != 1)
		return -EIO;
	if (r->id % 50 == 0) /* from a worker, while the others read */
		g_assert_cmpint(lacuna_mark_ino(w->h, LACUNA_MARK_ADD | LACUNA_MARK_IGNORE,
		                                LACUNA_MARK_FILE, r->ino),
		                ==, 0);
	if (atomic_fetch_add(&w->count, 1) + 1 == w->stop_at)
		lacuna_stop(w->h);
	return r->id % 3 == 0 ? 0 : r->id % 3 == 1 ? 1 : r->id % 2 ? -EBUSY : -ENOENT;
}

static void *work_main(void *data)
{
	struct work *w = data;
	w->result = lacuna_loop(w->h, THREADS, work_answer, w);
	return NULL;
}

static void work_start(struct work *w, struct peer *p)
{
	w->h = p->h;
	g_assert_cmpint(pthread_create(&w->thread, NULL, work_main, w), ==, 0);
}

static void answer_check(const uint8_t *bytes, uint8_t *seen)
{
	struct lacuna_answer a;
	memcpy(&a, bytes, sizeof(a));
	uint64_t id = a.header.id;
	g_assert_cmpuint(id, <=, EVENTS);
	g_assert_cmpuint(seen[id]++, ==, 0);
	g_assert_cmpuint(a.verdict, ==,
	                 id % 3 == 0   ? LACUNA_ALLOW
	                 : id % 3 == 1 ? LACUNA_FETCH
	                               : LACUNA_DENY);
	g_assert_cmpuint(a.error, ==, id % 3 < 2 ? 0 : id % 2 ? EBUSY : EIO);
}

static void test_loop(void)
{
	struct peer p;
	uint8_t seen[EVENTS + 1] = {0};
	struct work *w = g_new0(struct work, 1);
	peer_open(&p);
	work_start(w, &p);
	unsigned sent = 0, answered = 0, marks = 0;
	while (answered < EVENTS || marks < EVENTS / 50) {
		struct lacuna_message m;
		uint8_t bytes[sizeof(struct lacuna_mark)];
		while (sent < EVENTS && sent < answered + 100)
			peer_event(&p, ++sent);
		peer_receive(&p, bytes, sizeof(m));
		memcpy(&m, bytes, sizeof(m));
		g_assert_cmpuint(m.length, <=, sizeof(bytes));
		peer_receive(&p, bytes + sizeof(m), m.length - sizeof(m));
		if (m.type == LACUNA_MARK) {
			peer_result(&p, m.id, 0);
			marks++;
		} else {
			answer_check(bytes, seen);
			answered++;
		}
	}
	lacuna_stop(p.h);
	pthread_join(w->thread, NULL);
	g_assert_cmpint(w->result, ==, 0);
	for (unsigned i = 1; i <= EVENTS; i++)
		g_assert_cmpuint(atomic_load(&w->answered[i]), ==, 1);
	peer_close(&p);
	g_free(w);
}

static void test_loop_ends(void)
{
	struct peer p;
	struct work *w = g_new0(struct work, 1);
	peer_open(&p);
	w->stop_at = 1; /* from within the answer */
	work_start(w, &p);
	peer_event(&p, 1);
	pthread_join(w->thread, NULL);
	g_assert_cmpint(w->result, ==, 0);
	g_assert_cmpint(lacuna_loop(p.h, 2, work_answer, w), ==, 0);
	g_assert_cmpint(lacuna_loop(p.h, 0, work_answer, w), ==, -EINVAL);
	peer_close(&p);
	peer_open(&p);
	work_start(w, &p);
	shutdown(p.fd, SHUT_RDWR);
	pthread_join(w->thread, NULL);
	g_assert_cmpint(w->result, ==, -ECONNRESET);
	peer_close(&p);
	peer_open(&p);
	work_start(w, &p);
	wait_inside(p.h, THREADS + 1);
	lacuna_close(p.h, 1); /* ends the loop, and returns after it */
	p.h = NULL;
	pthread_join(w->thread, NULL);
	g_assert_cmpint(w->result, ==, 0);
	peer_close(&p);
	g_free(w);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lacuna/mark-alone", test_mark_alone);
	g_test_add_func("/lacuna/mark-beside-next", test_mark_beside_next);
	g_test_add_func("/lacuna/mark-arguments", test_mark_arguments);
	g_test_add_func("/lacuna/ends", test_ends);
	g_test_add_func("/lacuna/loop", test_loop);
	g_test_add_func("/lacuna/loop-ends", test_loop_ends);
	return g_test_run();
}
