/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Ways to authenticate, and that no other host gets the secret. */
#include "tests/unit/http_world.h"
#include <string.h>

/* printf 'me:user-secret' has been asked for in the way that Digest does */
static void test_digest(void)
{
	struct world *w = world_new();
	w->options.digest = true;
	liar_tell(w->liar, "Authorization: Digest username=\"me\"", 1, LIAR_KEEP, PART);
	liar_tell(w->liar, "", 0, LIAR_KEEP,
	          "HTTP/1.1 401 Who|WWW-Authenticate: Digest realm=\"x\", nonce=\"1\", "
	          "qop=\"auth\"|Content-Length: 4||what");
	world_open(w, "me:user-secret@", 0);
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 2);
	check_read(w, FETCH_DENIED, ""); /* requested twice, and refused twice */
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 4);
	g_assert_cmpuint(liar_count(w->liar, "Basic"), ==, 0);
	world_free(w);
}

/* A challenge without an answer delivers no data. */
static void test_no_digest(void)
{
	struct world *w = world_new();
	w->options.digest = true;
	liar_tell(w->liar, "", 0, LIAR_KEEP,
	          "HTTP/1.1 401 Who|WWW-Authenticate: Basic realm=\"x\"|Content-Length: 4||what");
	world_open(w, "me:user-secret@", 0);
	check_read(w, FETCH_DENIED, "");
	g_assert_null(check_list(w, NULL, FETCH_DENIED));
	world_free(w);
}

/* The first head was complete, and the last one is used: no warning. */
static void test_digest_cut(void)
{
	struct world *w = world_new();
	w->options.digest = true;
	liar_tell(w->liar, "Authorization: Digest", 0, LIAR_CUT,
	          "HTTP/1.1 200 OK|Content-Length: 3|");
	liar_tell(w->liar, "", 0, LIAR_KEEP,
	          "HTTP/1.1 401 Who|WWW-Authenticate: Digest realm=\"x\", nonce=\"1\", "
	          "qop=\"auth\"|Content-Length: 0||");
	world_open(w, "me:user-secret@", 0);
	check_stat(w, FETCH_UNREACHABLE, 0);
	check_read(w, FETCH_UNREACHABLE, "");
	g_assert_null(check_list(w, NULL, FETCH_UNREACHABLE));
	g_assert_cmpuint(liar_count(w->liar, "Authorization: Digest"), ==, 3);
	world_free(w);
}

static void test_query(void)
{
	g_autofree char *path = g_build_filename(g_get_home_dir(), "token", NULL);
	struct liar *other = liar_new();
	struct world *w = world_new();
	g_autofree char *away = g_strdup_printf(TO("http://127.0.0.1:%u/x"), liar_port(other));
	g_assert_true(g_file_set_contents(path, "?token=one-secret&a=b\n", -1, NULL));
	w->options.query_file = path;
	liar_tell(w->liar, "GET /root/dir/a%20file?token=one-secret&a=b HTTP", 1, LIAR_KEEP, PART);
	liar_tell(w->liar, "GET /root/dir/a%20file?token=one-secret&a=b HTTP", 1, LIAR_KEEP, away);
	liar_tell(w->liar, "GET /root/dir/?token=one-secret&a=b HTTP", 1, LIAR_CUT, PAGE("", JSON));
	liar_tell(w->liar, "", 0, LIAR_KEEP, "HTTP/1.1 404 No|Content-Length: 0||");
	liar_tell(other, "GET /x HTTP", 0, LIAR_KEEP, PART);
	world_open(w, "", 0);
	check_read(w, -1, "2345");
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(other, "secret"), ==, 0);
	listing_unref(check_list(w, NULL, -1));
	check_read(w, FETCH_MISSING, ""); /* the world checks the message */
	g_assert_true(g_file_set_contents(path, "a b", -1, NULL));
	check_read(w, FETCH_DENIED, "");
	g_autofree char *name = source_describe(w->source, "a b");
	g_assert_null(strchr(name, '?'));
	world_free(w);
	liar_free(other);
}

/* A cookie set by a redirect is sent back to its host. */
static void test_cookies(void)
{
	struct liar *other = liar_new();
	for (int off = 0; off < 2; off++) {
		struct world *w = world_new();
		g_autofree char *away =
		        g_strdup_printf(TO("http://127.0.0.1:%u/x"), liar_port(other));
		w->options.no_cookies = off;
		liar_tell(w->liar, "Cookie: k=1\r\n", 1, LIAR_KEEP, PART);
		liar_tell(w->liar, "Cookie: k=1\r\n", 1, LIAR_KEEP, away);
		liar_tell(w->liar, "", 0, LIAR_KEEP,
		          "HTTP/1.1 302 T|Location: a%20file|Set-Cookie: k=1; Path=/|"
		          "Content-Length: 0||");
		liar_tell(other, "", 0, LIAR_KEEP, PART);
		world_open(w, "", 0);
		check_read(w, off ? FETCH_PROTOCOL : -1, off ? "" : "2345");
		if (!off)
			check_read(w, -1, "2345");
		g_assert_cmpuint(liar_count(w->liar, ""), ==, off ? 1 : 3);
		world_free(w);
	}
	g_assert_cmpuint(liar_count(other, "Cookie:"), ==, 0); /* not even on this host */
	liar_free(other);
}

/* A server that sets new cookies with every answer does not fill the memory. libcurl sends at most
 * 150, the one with the longest name first. */
static void test_many_cookies(void)
{
	struct world *w = world_new();
	for (int n = 0; n < 40; n++) {
		g_autoptr(GString) answer = g_string_new("HTTP/1.1 206 Partial|");
		if (n == 0)
			g_string_append(answer, "Set-Cookie: longest-name=1; Path=/|");
		for (int i = 0; i < 40; i++)
			g_string_append_printf(answer, "Set-Cookie: k%d-%d=1; Path=/|", n, i);
		g_string_append(answer, strchr(PART, '|') + 1);
		liar_tell(w->liar, "", 1, LIAR_KEEP, answer->str);
	}
	liar_tell(w->liar, "", 0, LIAR_KEEP, PART);
	world_open(w, "", 0);
	for (int n = 0; n < 41; n++)
		check_read(w, -1, "2345");
	unsigned sent = liar_count(w->liar, "longest-name=1");
	g_assert_cmpuint(sent, >, 2);
	g_assert_cmpuint(sent, <, 20);
	world_free(w);
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http-auth/digest", test_digest);
	g_test_add_func("/http-auth/no-digest", test_no_digest);
	g_test_add_func("/http-auth/digest-cut", test_digest_cut);
	g_test_add_func("/http-auth/query", test_query);
	g_test_add_func("/http-auth/cookies", test_cookies);
	g_test_add_func("/http-auth/many-cookies", test_many_cookies);
	int result = g_test_run();
	home_remove(home);
	return result;
}
