/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <string.h>
#include <unistd.h>
#include "fuse/base/human.h"
#include "fuse/base/log.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/bar.h"
#include "fuse/cli/view.h"

#define assert_text(call, expected)                                                                \
	do {                                                                                       \
		g_autofree char *text_ = (call);                                                   \
		g_assert_cmpstr(text_, ==, (expected));                                            \
	} while (0)

static void test_draw(void)
{
	static const uint8_t slices[] = {0, 1, 127, 128, 254, 255};
	assert_text(bar_draw(slices, 6, true), "░▒▒▓▓█");
	assert_text(bar_draw(slices, 6, false), ".::::#");
	assert_text(bar_draw(slices, 0, true), "");
}

/* Neither end is shown before it is reached. */
static void test_progress(void)
{
	assert_text(bar_progress(0, 10, 4, false), "....");
	assert_text(bar_progress(5, 10, 4, false), "##..");
	assert_text(bar_progress(UINT64_MAX - 1, UINT64_MAX, 4, false), "###.");
	assert_text(bar_progress(10, 10, 4, false), "####");
	assert_text(bar_progress(11, 10, 4, false), "####");
	assert_text(bar_progress(0, 0, 4, true), "████");
	assert_text(bar_progress(1, 2, 0, true), "");
}

static void test_columns(void)
{
	int fds[2];
	g_assert_cmpint(pipe(fds), ==, 0);
	g_assert_cmpuint(bar_columns(fds[1], 64), ==, 64);
	close(fds[0]);
	close(fds[1]);
}

static void test_numbers(void)
{
	assert_text(human_size(0), "0 B");
	assert_text(human_size(999), "999 B");
	assert_text(human_size(1000), "1.0 KiB");
	assert_text(human_size(1536), "1.5 KiB");
	assert_text(human_size(10 * 1024), "10 KiB");
	assert_text(human_size(1023 * 1024), "1.0 MiB");
	assert_text(human_size(UINT64_MAX), "16 EiB");
	assert_text(human_count(0), "0");
	assert_text(human_count(999), "999");
	assert_text(human_count(1000), "1,000");
	assert_text(human_count(1234567), "1,234,567");
	assert_text(human_duration(-1), "0.0 s");
	assert_text(human_duration(0.44), "0.4 s");
	assert_text(human_duration(59.4), "59 s");
	assert_text(human_duration(200), "3 min 20 s");
	assert_text(human_duration(7500), "2 h 5 min");
	assert_text(human_duration(90000), "1 d 1 h");
	assert_text(human_duration(1e300), "forever");
}

/* No byte of a name can steer a terminal. */
static void test_names(void)
{
	assert_text(human_name("plain näme"), "plain näme");
	assert_text(human_name("a\033[2Jb\nc\x7f"), "a\\x1b[2Jb\\x0ac\\x7f");
	assert_text(human_name("\xff\xfe"
	                       "ä"),
	            "\\xff\\xfeä");
	assert_text(human_name("x\xe2\x80\xaey\xc2\x9b"), "x\\u202ey\\u009b");
	assert_text(human_name("cut \xe2\x80"), "cut \\xe2\\x80");
	assert_text(human_name("a\\x1b"), "a\\x1b");
	assert_text(human_fit("abc", 5, false), "abc  ");
	assert_text(human_fit("abc", 5, true), "  abc");
	assert_text(human_fit("日本語", 5, false), "日本 ");
	g_assert_cmpuint(human_width("日本語"), ==, 6);
}

static void test_redact(void)
{
	static const struct {
		const char *from, *to;
	} cases[] = {
	        {"http://joe:secret@host/x", "http://xxxxxxxxxx@host/x"},
	        {"http://joe@host", "http://xxx@host"},
	        {"http://host/a@b", "http://host/a@b"},
	        {"get http://a:b@c@d/ and https://u:p@h", "get http://xxxxx@d/ and https://xxx@h"},
	        {"http://host?q=a@b", "http://host?q=a@b"},
	        {"://@", "://@"},
	        {"nothing", "nothing"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *text = g_strdup(cases[i].from);
		log_redact(text);
		g_assert_cmpstr(text, ==, cases[i].to);
	}
}

static void test_mounts(void)
{
	g_autoptr(GPtrArray) mounts = mounts_parse(
	        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	        "30 22 0:53 / /mnt/a\\040b ro,nosuid shared:2 master:1 - fuse.lacunafs "
	        "http://host/t ro,user_id=1000,group_id=1000,default_permissions\n"
	        "31 22 0:54 / /mnt/a\\040b rw - fuse.lacunafs dir:/x rw,user_id=7,group_id=7\n"
	        "32 22 0:55 / /proc rw - proc proc\n"
	        "garbage\n"
	        "33 22 x:y / /bad rw - ext4 /dev/sda1 rw\n"
	        "34 22 0:56 / /other rw - fuse.sshfs host: rw,user_id=5\n");
	g_assert_cmpuint(mounts->len, ==, 4);
	const struct mount *m = mounts_at(mounts, "/mnt/a b");
	g_assert_nonnull(m);
	g_assert_cmpuint(m->minor, ==, 54);
	g_assert_cmpuint(m->uid, ==, 7);
	g_assert_true(mount_is_ours(m));
	m = mounts_of_device(mounts, 0, 53);
	g_assert_nonnull(m);
	g_assert_cmpstr(m->source, ==, "http://host/t");
	g_assert_cmpuint(m->uid, ==, 1000);
	g_assert_null(mounts_of_device(mounts, 0, 56));
	g_assert_null(mounts_of_device(mounts, 8, 1));
	g_assert_null(mounts_at(mounts, "/mnt"));
	g_assert_false(mount_is_ours(mounts_at(mounts, "/")));
}

static char *view(const char *json, void (*show)(JsonObject *, GString *))
{
	g_autoptr(JsonNode) node = json_from_string(json, NULL);
	GString *out = g_string_new(NULL);
	show(json_node_get_object(node), out);
	return g_string_free(out, FALSE);
}

static void show_file(JsonObject *o, GString *out)
{
	view_file(o, "name", false, out);
}

static void assert_shows(const char *text, const char *what)
{
	if (!strstr(text, what))
		g_error("no \"%s\" in:\n%s", what, text);
}

static void test_view_mount(void)
{
	g_autofree char *text = view(
	        "{\"mountpoint\": \"/m\", \"source\": \"http://h/\", \"pid\": 42, \"uptime_s\": 61,"
	        "\"inodes\": 1234, \"passthrough\": {\"usable\": false, \"reason\": \"because\"},"
	        "\"network\": {\"bytes\": 2048, \"requests\": 3, \"errors\": 1,"
	        "\"source_down\": true}, \"store\": {\"path\": \"/s\", \"bytes_served\": 10},"
	        "\"transfers\": [{\"path\": \"p\", \"url\": \"http://h/p\", \"offset\": 65536,"
	        "\"length\": 131072, \"arrived\": 1024, \"since_s\": 1.5, \"attempt\": 1,"
	        "\"retry_in_s\": 0.4, \"waiters\": [{\"pid\": 7, \"comm\": \"cat\", \"offset\": "
	        "65536,"
	        "\"length\": 4096, \"since_s\": 1.4, \"until_s\": 28.6}]}],"
	        "\"waiting_for_listings\": [{\"path\": \"d\", \"url\": \"http://h/d/\", \"pid\": 8,"
	        "\"comm\": \"ls\", \"since_s\": 0.5, \"until_s\": 29.5}]}",
	        view_mount);
	assert_shows(text, "http://h/  (unreachable)");
	assert_shows(text, "2.0 KiB in 3 requests, 1 errors");
	assert_shows(text, "no: because");
	assert_shows(text, "1,234 known to the kernel");
	assert_shows(text, "1.0 KiB of 128 KiB at 64 KiB, for 1.5 s, attempt 2 in 0.4 s");
	assert_shows(text,
	             "cat[7] waits for 4.0 KiB at 64 KiB, for 1.4 s so far, at most 29 s more");
	assert_shows(text, "http://h/d/ (its listing)");
	assert_shows(text, "ls[8] waits for 0.5 s so far");
}

/* Answers of a daemon of another version must not crash the client. */
static void test_view_nonsense(void)
{
	static const char *const cases[] = {
	        "{}", "{\"transfers\": {}, \"store\": [], \"network\": 1, \"passthrough\": null}",
	        "{\"transfers\": [1, null, []], \"waiting_for_listings\": [{}], \"inodes\": \"x\"}",
	        "{\"kind\": \"file\", \"bar\": [1, \"x\", null, -5, 500, {}], \"last_error\": 3}",
	        "{\"kind\": 3, \"size\": -1, \"chunk_size\": 1e300, \"transfers\": [{\"waiters\": "
	        "1}]}"};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *mount = view(cases[i], view_mount);
		g_autofree char *file = view(cases[i], show_file);
		g_assert_cmpuint(strlen(mount), >, 0);
		g_assert_cmpuint(strlen(file), >, 0);
	}
}

static void test_view_file(void)
{
	g_autofree char *text = view(
	        "{\"kind\": \"file\", \"url\": \"http://h/f\", \"content\": \"partial\","
	        "\"size\": 200000, \"chunk_size\": 65536, \"chunks\": 4, \"present_chunks\": 1,"
	        "\"present_bytes\": 65536, \"mode\": \"cached\", \"handles\": 2,"
	        "\"passthrough_reason\": \"3 chunks are absent\", \"bar\": [255, 0, 100, 0],"
	        "\"last_error\": {\"errno\": 5, \"name\": \"EIO\", \"cause\": \"404\","
	        "\"at\": \"2026-01-01T00:00:00Z\"}}",
	        show_file);
	assert_shows(text, "partial: 64 KiB of 195 KiB, 1 of 4 chunks of 64 KiB");
	assert_shows(text, "2 times, cached");
	assert_shows(text, "not yet: 3 chunks are absent");
	assert_shows(text, "EIO, 2026-01-01T00:00:00Z: 404");
	assert_shows(text, "\n#.:.\n");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/bar/draw", test_draw);
	g_test_add_func("/bar/progress", test_progress);
	g_test_add_func("/bar/columns", test_columns);
	g_test_add_func("/human/numbers", test_numbers);
	g_test_add_func("/human/names", test_names);
	g_test_add_func("/log/redact", test_redact);
	g_test_add_func("/mounts/parse", test_mounts);
	g_test_add_func("/view/mount", test_view_mount);
	g_test_add_func("/view/file", test_view_file);
	g_test_add_func("/view/nonsense", test_view_nonsense);
	return g_test_run();
}
