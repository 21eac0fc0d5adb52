/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* A handler's end of the protocol: one thread, good and bad peers. */
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/unit/lacuna_peer.h"

static bool readable(struct lacuna_handler *h)
{
	struct pollfd p = {.fd = lacuna_fd(h), .events = POLLIN};
	return poll(&p, 1, 0) == 1;
}

static struct lacuna_request *expect_event(struct peer *p, uint64_t id)
{
	struct lacuna_request *r = NULL;
	char path[64];
	g_assert_cmpint(lacuna_next(p->h, 20000, &r), ==, 0);
	g_snprintf(path, sizeof(path), "dir/file-%" G_GUINT64_FORMAT, id);
	g_assert_cmpuint(r->id, ==, id);
	g_assert_cmpuint(r->offset, ==, id * 4096);
	g_assert_cmpuint(r->length, ==, 8192);
	g_assert_cmpuint(r->size, ==, UINT64_C(1) << 40);
	g_assert_cmpuint(r->ino, ==, id + 1000);
	g_assert_cmpuint(r->operation, ==, LACUNA_FAULT);
	g_assert_cmpuint(r->flags, ==, LACUNA_EVENT_AGAIN);
	g_assert_cmpuint(r->pid, ==, 10);
	g_assert_cmpuint(r->tid, ==, 11);
	g_assert_cmpuint(r->uid, ==, 12);
	g_assert_cmpstr(r->path, ==, path);
	return r;
}

static void expect_answer(struct peer *p, uint64_t id, uint32_t verdict, uint32_t error)
{
	struct lacuna_answer a;
	peer_receive(p, &a, sizeof(a));
	g_assert_cmpuint(a.header.length, ==, 24);
	g_assert_cmpuint(a.header.type, ==, LACUNA_ANSWER);
	g_assert_cmpuint(a.header.id, ==, id);
	g_assert_cmpuint(a.verdict, ==, verdict);
	g_assert_cmpuint(a.error, ==, error);
}

static void test_event(void)
{
	struct peer p;
	struct stat a, b;
	unsigned before = descriptors_open();
	peer_open(&p);
	g_assert_false(readable(p.h));
	peer_event(&p, 7);
	g_assert_true(readable(p.h));
	errno = ERANGE;
	struct lacuna_request *r = expect_event(&p, 7);
	g_assert_cmpint(errno, ==, ERANGE);
	g_assert_false(readable(p.h));
	g_assert_cmpint(fcntl(r->fd, F_GETFD), ==, FD_CLOEXEC);
	g_assert_cmpint(fstat(r->fd, &a), ==, 0);
	g_assert_cmpint(fstat(p.scratch, &b), ==, 0);
	g_assert_true(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
	g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_ALLOW, 0), ==, 0);
	expect_answer(&p, 7, LACUNA_ALLOW, 0);
	peer_close(&p);
	g_assert_cmpuint(descriptors_open(), ==, before);
}

static void test_split(void)
{
	struct peer p;
	uint8_t bytes[LACUNA_MESSAGE_MAX];
	struct lacuna_request *r;
	peer_open(&p);
	size_t length = event_make(bytes, 1);
	for (size_t cut = 1; cut < length; cut++) {
		peer_send(&p, bytes, cut, &p.scratch, 1);
		g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EAGAIN);
		peer_send(&p, bytes + cut, length - cut, NULL, 0);
		lacuna_respond(p.h, expect_event(&p, 1), LACUNA_FETCH, 0);
		expect_answer(&p, 1, LACUNA_FETCH, 0);
	}
	for (size_t i = 0; i < length; i++)
		peer_send(&p, bytes + i, 1, &p.scratch, i == 0);
	lacuna_respond(p.h, expect_event(&p, 1), LACUNA_DENY, 0);
	expect_answer(&p, 1, LACUNA_DENY, 0);
	peer_close(&p);
}

/* Messages that come in one piece, and the largest one. */
static void test_joined(void)
{
	struct peer p;
	uint8_t bytes[LACUNA_MESSAGE_MAX];
	struct lacuna_request *r;
	peer_open(&p);
	for (uint64_t id = 1; id <= 20; id++)
		peer_event(&p, id);
	for (uint64_t id = 1; id <= 20; id++)
		lacuna_respond(p.h, expect_event(&p, id), LACUNA_ALLOW, 0);
	event_make(bytes, 1);
	memset(bytes + sizeof(struct lacuna_event), 'x',
	       sizeof(bytes) - sizeof(struct lacuna_event));
	((struct lacuna_event *)(void *)bytes)->header.length = sizeof(bytes);
	((struct lacuna_event *)(void *)bytes)->path_length = sizeof(bytes) - 72;
	for (int i = 0; i < 3; i++) {
		peer_send(&p, bytes, sizeof(bytes), &p.scratch, 1);
		peer_event(&p, 2);
		g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, 0);
		g_assert_cmpuint(strlen(r->path), ==, sizeof(bytes) - 72);
		lacuna_respond(p.h, r, LACUNA_ALLOW, 0);
		lacuna_respond(p.h, expect_event(&p, 2), LACUNA_ALLOW, 0);
	}
	peer_close(&p);
}

static void test_respond(void)
{
	static const int errors[] = {0, EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC, EDQUOT};
	struct peer p;
	peer_open(&p);
	for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
		peer_event(&p, i + 1);
		struct lacuna_request *r = expect_event(&p, i + 1);
		g_assert_cmpint(lacuna_respond(p.h, r, 0, 0), ==, -EINVAL);
		g_assert_cmpint(lacuna_respond(p.h, r, 4, 0), ==, -EINVAL);
		g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_ALLOW, EIO), ==, -EINVAL);
		g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_DENY, ENOENT), ==, -EINVAL);
		g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_DENY, -EIO), ==, -EINVAL);
		g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_DENY, errors[i]), ==, 0);
		expect_answer(&p, i + 1, LACUNA_DENY, (uint32_t)errors[i]);
	}
	g_assert_cmpuint(lacuna_refusals(p.h), ==, 0);
	struct lacuna_request *r;
	peer_result(&p, 3, ENOENT);
	peer_result(&p, 4, EIO);
	peer_result(&p, 5, 0);
	g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EAGAIN);
	g_assert_cmpuint(lacuna_refusals(p.h), ==, 2);
	peer_close(&p);
}

static void test_timeout(void)
{
	struct peer p;
	struct lacuna_request *r;
	peer_open(&p);
	gint64 start = g_get_monotonic_time();
	g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EAGAIN);
	g_assert_cmpint(lacuna_next(p.h, 50, &r), ==, -EAGAIN);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, 49000);
	peer_close(&p);
}

struct bad {
	const char *what;
	size_t at, width; /* the change of a good EVENT */
	uint64_t value;
	unsigned fds;
};

static const struct bad bads[] = {
        {"no length", 0, 4, 0, 1},
        {"short header", 0, 4, 15, 1},
        {"header alone", 0, 4, 16, 1},
        {"short event", 0, 4, 71, 1},
        {"too long", 0, 4, LACUNA_MESSAGE_MAX + 1, 1},
        {"length of all ones", 0, 4, UINT32_MAX, 1},
        {"type 0", 4, 4, 0, 1},
        {"a type of ours", 4, 4, LACUNA_ANSWER, 1},
        {"type 6", 4, 4, 6, 1},
        {"id 0", 8, 8, 0, 1},
        {"negative offset", 16, 8, UINT64_MAX, 1},
        {"offset and length overflow", 24, 8, INT64_MAX, 1},
        {"size", 32, 8, UINT64_MAX, 1},
        {"operation 0", 48, 4, 0, 1},
        {"operation 8", 48, 4, 8, 1},
        {"path longer than it", 68, 4, 11, 1},
        {"path shorter than it", 68, 4, 9, 1},
        {"path of all ones", 68, 4, UINT32_MAX, 1},
        {"NUL in the path", 74, 1, 0, 1},
        {"no descriptor", 0, 0, 0, 0},
        {"two descriptors", 0, 0, 0, 2},
        {"eight descriptors", 0, 0, 0, 8},
};

static void test_bad(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(bads); i++) {
		const struct bad *b = &bads[i];
		unsigned before = descriptors_open();
		struct peer p;
		struct lacuna_request *r;
		uint8_t bytes[LACUNA_MESSAGE_MAX];
		peer_open(&p);
		size_t length = event_make(bytes, 1);
		memcpy(bytes + b->at, &b->value, b->width);
		int fds[8] = {p.scratch, p.scratch, p.scratch, p.scratch,
		              p.scratch, p.scratch, p.scratch, p.scratch};
		g_test_message("%s", b->what);
		peer_send(&p, bytes, length, fds, b->fds);
		g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, -EPROTO);
		g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EPROTO);
		g_assert_cmpint(lacuna_mark_ino(p.h, LACUNA_MARK_ADD, LACUNA_MARK_MOUNT, 0), ==,
		                -EPROTO);
		g_assert_true(readable(p.h));
		peer_close(&p);
		g_assert_cmpuint(descriptors_open(), ==, before);
	}
}

/* Also: a descriptor that belongs to nothing must not go with the event behind it. */
static void test_bad_result(void)
{
	const struct lacuna_result result = {
	        .header = {.length = sizeof(result), .type = LACUNA_RESULT, .id = 1}};
	struct peer p;
	struct lacuna_request *r;
	peer_open(&p);
	peer_send(&p, &result, sizeof(result), &p.scratch, 1);
	g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, -EPROTO);
	peer_close(&p);
	peer_open(&p);
	peer_result(&p, 0, EPROTO);
	g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, -EPROTO);
	peer_close(&p);
	peer_open(&p);
	peer_send(&p, &result, sizeof(result) - 1, NULL, 0);
	peer_send(&p, "\0\0", 1, NULL, 0);
	g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, -EAGAIN);
	const struct lacuna_result wrong = {
	        .header = {.length = sizeof(wrong), .type = LACUNA_RESULT, .id = 1}, .error = 4096};
	peer_send(&p, &wrong, sizeof(wrong), NULL, 0);
	g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, -EPROTO);
	peer_close(&p);
}

static void test_no_descriptor_left(void)
{
	struct peer p;
	struct lacuna_request *r;
	struct rlimit before, tight;
	peer_open(&p);
	peer_event(&p, 1);
	peer_event(&p, 2);
	getrlimit(RLIMIT_NOFILE, &before);
	int next = dup(p.scratch);
	tight = (struct rlimit){(rlim_t)next, before.rlim_max};
	close(next);
	setrlimit(RLIMIT_NOFILE, &tight);
	int got = lacuna_next(p.h, 20000, &r);
	setrlimit(RLIMIT_NOFILE, &before);
	g_assert_cmpint(got, ==, -EMFILE);
	expect_answer(&p, 1, LACUNA_DENY, 0);
	lacuna_respond(p.h, expect_event(&p, 2), LACUNA_ALLOW, 0);
	expect_answer(&p, 2, LACUNA_ALLOW, 0);
	peer_close(&p);
}

static void test_gone(void)
{
	struct peer p;
	struct lacuna_request *r;
	peer_open(&p);
	peer_event(&p, 1);
	peer_event(&p, 2);
	r = expect_event(&p, 1);
	close(p.fd);
	p.fd = -1;
	g_assert_cmpint(lacuna_respond(p.h, r, LACUNA_ALLOW, 0), ==, -ECONNRESET);
	lacuna_respond(p.h, expect_event(&p, 2), LACUNA_ALLOW, 0);
	g_assert_cmpint(lacuna_next(p.h, -1, &r), ==, -ECONNRESET);
	g_assert_true(readable(p.h));
	g_assert_cmpint(lacuna_mark_ino(p.h, LACUNA_MARK_ADD, LACUNA_MARK_MOUNT, 0), ==,
	                -ECONNRESET);
	peer_close(&p);
	lacuna_close(NULL, 0);
}

static void test_farewell(void)
{
	for (int lost = 0; lost < 2; lost++) {
		struct peer p;
		struct lacuna_message m = {0};
		uint64_t more;
		peer_open(&p);
		peer_event(&p, 1);
		/* the mount may have closed the connection already */
		shutdown(p.fd, SHUT_WR);
		lacuna_close(p.h, lost);
		p.h = NULL;
		if (!lost) {
			peer_receive(&p, &m, sizeof(m));
			g_assert_cmpuint(m.length, ==, 16);
			g_assert_cmpuint(m.type, ==, LACUNA_DETACH);
		}
		g_assert_cmpint(recv(p.fd, &more, 1, 0), <=, 0);
		peer_close(&p);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lacuna/event", test_event);
	g_test_add_func("/lacuna/split", test_split);
	g_test_add_func("/lacuna/joined", test_joined);
	g_test_add_func("/lacuna/respond", test_respond);
	g_test_add_func("/lacuna/timeout", test_timeout);
	g_test_add_func("/lacuna/bad", test_bad);
	g_test_add_func("/lacuna/bad-result", test_bad_result);
	g_test_add_func("/lacuna/no-descriptor-left", test_no_descriptor_left);
	g_test_add_func("/lacuna/gone", test_gone);
	g_test_add_func("/lacuna/farewell", test_farewell);
	return g_test_run();
}
