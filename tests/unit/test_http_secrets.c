/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The hosts that get secrets, and options that are refused. */
#include <glib/gstdio.h>
#include <string.h>
#include "fetch/source/http/http.h"
#include "tests/unit/http_world.h"

static unsigned secrets(struct liar *l)
{
	return liar_count(l, "Authorization:") + liar_count(l, "X-Mine:");
}

/* A secret given for one host is sent to that host, also after a redirect to itself; never to
 * another, nor to the first after a redirect back by another. */
static void check_secrets(struct world *w, const char *user, const char *said)
{
	struct liar *other = liar_new();
	char *headers[] = {(char *)"X-Mine: header-secret", NULL};
	g_autofree char *away =
	        g_strdup_printf(TO("http://me:secret@127.0.0.1:%u/x?k=secret"), liar_port(other));
	g_autofree char *back = g_strdup_printf(TO("http://127.0.0.1:%u/back"), liar_port(w->liar));
	w->options.headers = headers;
	liar_tell(w->liar, "GET /root/dir", 1, LIAR_KEEP, TO("/near"));
	liar_tell(w->liar, "GET /near", 1, LIAR_KEEP, away);
	liar_tell(other, "GET /x?k=secret ", 1, LIAR_KEEP, back);
	liar_tell(w->liar, "GET /back", 1, LIAR_KEEP, PART);
	world_open(w, user, 0);
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, said), ==, 2);
	g_assert_cmpuint(liar_count(w->liar, "X-Mine: header-secret"), ==, 2);
	g_assert_cmpuint(secrets(w->liar), ==, 4);
	g_assert_cmpuint(liar_count(other, ""), ==, 1);
	g_assert_cmpuint(secrets(other), ==, 0);
	g_autofree char *name = source_describe(w->source, "a b");
	g_assert_null(strstr(name, "secret"));
	liar_free(other);
	world_free(w);
}

static void test_secrets(void)
{
	/* printf 'me:user-secret' | base64, and the same of netrc's */
	check_secrets(world_new(), "me:user-secret@",
	              "Authorization: Basic bWU6dXNlci1zZWNyZXQ=\r\n");

	struct world *w = world_new();
	w->options.no_netrc = false;
	check_secrets(w, "", "Authorization: Basic bnU6bmV0LXNlY3JldA==\r\n");

	g_autofree char *path = g_build_filename(g_get_home_dir(), "token", NULL);
	g_assert_true(g_file_set_contents(path, "bearer-secret\r\n", -1, NULL));
	w = world_new();
	w->options.token_file = path;
	w->options.no_netrc = false;
	check_secrets(w, "", "Authorization: Bearer bearer-secret\r\n");
}

static void test_token(void)
{
	g_autofree char *path = g_build_filename(g_get_home_dir(), "token", NULL);
	struct world *w = world_new();
	liar_tell(w->liar, "", 0, LIAR_KEEP, PART);
	w->options.token_file = path;
	g_unlink(path);
	world_open(w, "", 0);
	check_read(w, FETCH_DENIED, "");
	g_assert_true(g_file_set_contents(path, "one-secret", -1, NULL));
	check_read(w, -1, "2345");
	g_assert_true(g_file_set_contents(path, "two-secret\n", -1, NULL));
	check_read(w, -1, "2345");
	g_assert_cmpuint(liar_count(w->liar, "Bearer one-secret\r\n"), ==, 1);
	g_assert_cmpuint(liar_count(w->liar, "Bearer two-secret\r\n"), ==, 1);
	g_assert_true(g_file_set_contents(path, "a-secret\r\nX-Evil: 1", -1, NULL));
	check_read(w, FETCH_DENIED, "");
	g_assert_true(g_file_set_contents(path, "\n", -1, NULL));
	check_read(w, FETCH_DENIED, "");
	g_assert_cmpuint(liar_count(w->liar, ""), ==, 2);
	world_free(w);
}

static void test_usage(void)
{
	static const char *const bad[] = {"Range: bytes=0-1", "accept-encoding: gzip", "no colon",
	                                  "Bad Name: x",      "X: a\r\nY: secret",     "X:  "};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		char *headers[] = {(char *)bad[i], NULL};
		struct source_options options = {.headers = headers, .connections = 1};
		g_autoptr(GError) error = NULL;
		g_assert_null(http_source_open("http://h/", &options, &error));
		g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
		g_assert_null(strstr(error->message, "secret"));
	}
	g_autoptr(GError) error = NULL;
	g_assert_null(http_source_canonical("http://h/?q", &error));
	g_assert_error(error, FETCH_ERROR, FETCH_USAGE);
	g_autofree char *same = http_source_canonical("HTTP://u:secret@H:80/a/../b", NULL);
	g_assert_cmpstr(same, ==, "http://h/b/");
}

int main(int argc, char **argv)
{
	char *home = home_make();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/http/secrets", test_secrets);
	g_test_add_func("/http/token", test_token);
	g_test_add_func("/http/usage", test_usage);
	int result = g_test_run();
	home_remove(home);
	return result;
}
