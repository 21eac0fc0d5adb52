/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
/* Finding the mount and its socket, and the first messages. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "lib/attach.h"
#include "lib/reply.h"
#include "tests/unit/lacuna_peer.h"

static void test_reply(void)
{
	static const struct {
		const char *line;
		int result, inherited;
	} cases[] = {
	        {"{\"attached\": 1, \"inherited\": true}", 0, 1},
	        {"{\"attached\":1,\"inherited\":false}", 0, 0},
	        {" { \"inherited\" : true , \"attached\" : 1 } \r", 0, 1},
	        {"{\"attached\":1}", 0, 0},
	        {"{\"attached\":1,\"new\":\"x\\\"\\u0041\",\"n\":null,\"m\":-1.5e3}", 0, 0},
	        {"{\"error\":\"too many clients\"}", -EAGAIN, 0},
	        {"{\"error\":\"only the owner of the mount and root are answered\"}", -EACCES, 0},
	        {"{\"error\":\"too many handlers\"}", -EAGAIN, 0},
	        {"{\"error\":\"a handler of that name is attached\"}", -EBUSY, 0},
	        {"{\"error\":\"attach: expects holes or every as \\\"mode\\\"\"}", -EINVAL, 0},
	        {"{\"error\":\"unknown verb: expects status\"}", -ENOTTY, 0},
	        {"{\"error\":\"name is taken\",\"errno\":16}", -EBUSY, 0},
	        {"{\"errno\":22,\"error\":\"\"}", -EINVAL, 0},
	        {"{\"attached\":2}", -EPROTO, 0},
	        {"{\"attached\":11}", -EPROTO, 0},
	        {"{\"attached\":true}", -EPROTO, 0},
	        {"{\"attached\":\"1\"}", -EPROTO, 0},
	        {"{\"attached\":1,\"inherited\":1}", -EPROTO, 0},
	        {"{\"attached\":1,\"inherited\":null}", -EPROTO, 0},
	        {"{\"error\":1}", -EPROTO, 0},
	        {"{\"error\":\"x\",\"errno\":0}", -EPROTO, 0},
	        {"{\"error\":\"x\",\"errno\":4096}", -EPROTO, 0},
	        {"{\"error\":\"x\",\"errno\":99999999999999999999}", -EPROTO, 0},
	        {"{\"error\":\"x\",\"errno\":-5}", -EPROTO, 0},
	        {"{}", -EPROTO, 0},
	        {"", -EPROTO, 0},
	        {"{", -EPROTO, 0},
	        {"{\"attached\":1", -EPROTO, 0},
	        {"{\"attached\":1,}", -EPROTO, 0},
	        {"{\"attached\":01}", -EPROTO, 0},
	        {"{\"attached\":}", -EPROTO, 0},
	        {"{\"attached\" 1}", -EPROTO, 0},
	        {"{\"attached\":1}}", -EPROTO, 0},
	        {"{\"attached\":1} x", -EPROTO, 0},
	        {"{\"attached\":[1]}", -EPROTO, 0},
	        {"{\"attached", -EPROTO, 0},
	        {"{\"attached\\", -EPROTO, 0},
	        {"{\"a\\x\":1,\"attached\":1}", -EPROTO, 0},
	        {"{\"a\tb\":1,\"attached\":1}", -EPROTO, 0},
	        {"attached", -EPROTO, 0},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		int inherited = 0;
		g_test_message("%s", cases[i].line);
		g_assert_cmpint(reply_parse(cases[i].line, &inherited), ==, cases[i].result);
		g_assert_cmpint(inherited, ==, cases[i].inherited);
	}
	/* names and values longer than their limits */
	g_autofree char *filler = g_strnfill(2000, 'x');
	g_autofree char *line = g_strdup_printf("{\"%s\":\"%s\",\"attached\":1}", filler, filler);
	int inherited;
	g_assert_cmpint(reply_parse(line, &inherited), ==, 0);
}

static int owner(const char *text, unsigned major, unsigned minor, uint32_t *uid)
{
	FILE *f = fmemopen((void *)text, strlen(text), "r");
	int r = mountinfo_owner(f, major, minor, uid);
	fclose(f);
	return r;
}

static void test_mountinfo(void)
{
	static const char text[] = "21 1 0:40 / /a rw - ext4 /dev/x rw\n"
	                           "nonsense\n"
	                           "\n"
	                           "22 1 0:41 / /a\\040-\\040b rw,noatime shared:1 - fuse.lacunafs "
	                           "user_id=7 rw,user_id=1000,group_id=5\n"
	                           "23 1 0:42 / /b rw - fuse.lacunafs x user_id=0,group_id=0\n"
	                           "24 1 0:43 / /b rw - fuse.lacunafs2 x rw,user_id=5\n"
	                           "25 1 0:44 / /b rw - fuse.lacunafs x rw,xuser_id=5";
	uint32_t uid = 99;
	g_assert_cmpint(owner(text, 0, 40, &uid), ==, -ENOTTY);
	g_assert_cmpint(owner(text, 0, 43, &uid), ==, -ENOTTY);
	g_assert_cmpint(owner(text, 0, 44, &uid), ==, -ENOTTY);
	g_assert_cmpint(owner(text, 1, 41, &uid), ==, -ENOTTY);
	g_assert_cmpuint(uid, ==, 99);
	g_assert_cmpint(owner(text, 0, 41, &uid), ==, 0);
	g_assert_cmpuint(uid, ==, 1000);
	g_assert_cmpint(owner(text, 0, 42, &uid), ==, 0);
	g_assert_cmpuint(uid, ==, 0);
}

static void test_line(void)
{
	char line[LINE_MAX_BYTES], name[LACUNA_NAME_MAX + 2];
	struct {
		struct lacuna_options o;
		uint64_t newer;
	} big = {.o = {.size = sizeof(big)}};
	struct lacuna_options o = {.size = sizeof(o)};
	static const char plain[] = "{\"verb\": \"attach\", \"version\": 1, \"mode\": \"holes\", "
	                            "\"class\": \"pre-content\", \"backlog\": 16384}\n";
	g_assert_cmpint(attach_line(NULL, line), ==, sizeof(plain) - 1);
	g_assert_cmpstr(line, ==, plain);
	g_assert_cmpint(attach_line(&o, line), ==, sizeof(plain) - 1);
	g_assert_cmpint(attach_line(&big.o, line), ==, sizeof(plain) - 1);
	big.newer = 1;
	g_assert_cmpint(attach_line(&big.o, line), ==, -EINVAL);
	o = (struct lacuna_options){sizeof(o), LACUNA_EVERY, LACUNA_CLASS_CONTENT, "x y~", 5};
	g_assert_cmpint(attach_line(&o, line), >, 0);
	g_assert_cmpstr(line, ==,
	                "{\"verb\": \"attach\", \"version\": 1, \"mode\": \"every\", "
	                "\"class\": \"content\", \"backlog\": 5, \"name\": \"x y~\"}\n");
	static const char *const bad[] = {"", "\"", "\\", "\n", "\x7f", "\xc3\xa4"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		o.name = bad[i];
		g_assert_cmpint(attach_line(&o, line), ==, -EINVAL);
	}
	memset(name, 'n', sizeof(name));
	name[LACUNA_NAME_MAX + 1] = '\0';
	o.name = name;
	g_assert_cmpint(attach_line(&o, line), ==, -EINVAL);
	name[LACUNA_NAME_MAX] = '\0';
	g_assert_cmpint(attach_line(&o, line), >, 0);
	o.mode = 2;
	g_assert_cmpint(attach_line(&o, line), ==, -EINVAL);
	o.mode = 0;
	o.class_ = 2;
	g_assert_cmpint(attach_line(&o, line), ==, -EINVAL);
	o.class_ = 0;
	o.size--;
	g_assert_cmpint(attach_line(&o, line), ==, -EINVAL);
}

static char *scratch; /* $XDG_RUNTIME_DIR */

static int listener_open(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_snprintf(a.sun_path, sizeof(a.sun_path), "%s/lacunafs/4000:77", scratch);
	unlink(a.sun_path);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
	g_assert_cmpint(listen(fd, 4), ==, 0);
	return fd;
}

static void test_socket(void)
{
	g_autofree char *directory = g_build_filename(scratch, "lacunafs", NULL);
	g_assert_cmpint(attach_connect(4000, 77, geteuid()), ==, -ECONNREFUSED);
	g_mkdir(directory, 0700);
	g_assert_cmpint(attach_connect(4000, 77, geteuid()), ==, -ECONNREFUSED);
	int listener = listener_open();
	int fd = attach_connect(4000, 77, geteuid());
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_assert_cmpint(attach_connect(4000, 78, geteuid()), ==, -ECONNREFUSED);
	chmod(directory, 0777);
	g_assert_cmpint(attach_connect(4000, 77, geteuid()), ==, -ECONNREFUSED);
	chmod(directory, 0700);
	/* another's mount is not looked for in our own directory */
	g_assert_cmpint(attach_connect(4000, 77, geteuid() + 12345), ==, -ECONNREFUSED);
	close(listener);
	g_assert_cmpint(attach_connect(4000, 77, geteuid()), ==, -ECONNREFUSED);
	g_setenv("XDG_RUNTIME_DIR", "relative", TRUE);
	g_assert_cmpint(attach_connect(4000, 77, geteuid()), ==, -ECONNREFUSED);
	g_setenv("XDG_RUNTIME_DIR", scratch, TRUE);
}

static void talk(const char *answer, size_t piece, int expected, unsigned events)
{
	struct peer p;
	char line[LINE_MAX_BYTES], got[LINE_MAX_BYTES];
	int inherited = -1, length = attach_line(NULL, line);
	peer_open(&p);
	/* the kernel joins none of these with an event, which brings a descriptor */
	for (size_t at = 0; at < strlen(answer); at += piece)
		peer_send(&p, answer + at, MIN(piece, strlen(answer) - at), NULL, 0);
	for (uint64_t id = 1; id <= events; id++)
		peer_event(&p, id);
	if (expected == -EPROTO)
		shutdown(p.fd, SHUT_WR);
	g_assert_cmpint(attach_talk(p.h->socket, line, length, &p.h->inbox, &inherited), ==,
	                expected);
	peer_receive(&p, got, (size_t)length);
	g_assert_cmpmem(got, (size_t)length, line, (size_t)length);
	g_assert_cmpint(inherited, ==, expected == 0 ? 1 : -1);
	g_assert_cmpint(handler_begin(p.h), ==, 0);
	for (uint64_t id = 1; id <= events; id++) {
		struct lacuna_request *r;
		g_assert_cmpint(lacuna_next(p.h, 20000, &r), ==, 0);
		g_assert_cmpuint(r->id, ==, id);
		lacuna_respond(p.h, r, LACUNA_ALLOW, 0);
	}
	peer_close(&p);
}

static void test_talk(void)
{
	static const char good[] = "{\"attached\": 1, \"inherited\": true}\n";
	g_autofree char *filler = g_strnfill(LINE_MAX_BYTES + 10, 'x');
	for (size_t piece = 1; piece <= sizeof(good) - 1; piece++)
		talk(good, piece, 0, 3);
	talk("{\"error\": \"x\", \"errno\": 16}\n", 100, -EBUSY, 0);
	talk("", 1, -EPROTO, 0);
	talk("{\"attached\": 1}", 100, -EPROTO, 0);
	/* an answer and the first events in one piece: a daemon may send them so */
	struct peer p;
	uint8_t bytes[LACUNA_MESSAGE_MAX + 64];
	struct lacuna_request *r;
	int inherited;
	peer_open(&p);
	memcpy(bytes, good, sizeof(good) - 1);
	size_t length = sizeof(good) - 1 + event_make(bytes + sizeof(good) - 1, 9);
	peer_send(&p, bytes, length, &p.scratch, 1);
	g_assert_cmpint(attach_talk(p.h->socket, "x\n", 2, &p.h->inbox, &inherited), ==, 0);
	g_assert_cmpint(handler_begin(p.h), ==, 0);
	g_assert_cmpint(lacuna_next(p.h, 0, &r), ==, 0);
	g_assert_cmpuint(r->id, ==, 9);
	lacuna_respond(p.h, r, LACUNA_ALLOW, 0);
	peer_close(&p);
	peer_open(&p);
	peer_send(&p, filler, LINE_MAX_BYTES + 10, NULL, 0);
	g_assert_cmpint(attach_talk(p.h->socket, "x\n", 2, &p.h->inbox, &inherited), ==, -EPROTO);
	peer_close(&p);
}

static void test_nowhere(void)
{
	struct lacuna_handler *h = NULL;
	struct lacuna_options o = {.size = 1};
	unsigned before = descriptors_open();
	g_assert_cmpint(lacuna_attach(NULL, NULL, &h, NULL), ==, -EINVAL);
	g_assert_cmpint(lacuna_attach("/", &o, &h, NULL), ==, -EINVAL);
	g_assert_cmpint(lacuna_attach("/nowhere", NULL, &h, NULL), ==, -ENOENT);
	g_assert_cmpint(lacuna_attach("/dev/null/x", NULL, &h, NULL), ==, -ENOTDIR);
	g_assert_cmpint(lacuna_attach("/proc", NULL, &h, NULL), ==, -ENOTTY);
	g_assert_null(h);
	g_assert_cmpuint(descriptors_open(), ==, before);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	scratch = g_dir_make_tmp("lacuna-XXXXXX", NULL);
	g_setenv("XDG_RUNTIME_DIR", scratch, TRUE);
	g_test_add_func("/lacuna-attach/reply", test_reply);
	g_test_add_func("/lacuna-attach/mountinfo", test_mountinfo);
	g_test_add_func("/lacuna-attach/line", test_line);
	g_test_add_func("/lacuna-attach/socket", test_socket);
	g_test_add_func("/lacuna-attach/talk", test_talk);
	g_test_add_func("/lacuna-attach/nowhere", test_nowhere);
	int status = g_test_run();
	g_autofree char *socket = g_build_filename(scratch, "lacunafs", "4000:77", NULL);
	g_autofree char *directory = g_build_filename(scratch, "lacunafs", NULL);
	g_unlink(socket);
	g_rmdir(directory);
	g_rmdir(scratch);
	g_free(scratch);
	return status;
}
