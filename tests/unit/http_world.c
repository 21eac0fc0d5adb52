/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "tests/unit/http_world.h"
#include "fetch/source/wrap/retry.h"
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>

void world_connect(struct world *w, const char *user, unsigned port, unsigned retries)
{
	g_autoptr(GError) error = NULL;
	w->options.connect_ms = w->options.connect_ms != 0 ? w->options.connect_ms : 2000;
	w->options.stall_ms = w->options.stall_ms != 0 ? w->options.stall_ms : 2000;
	w->options.connections = w->options.connections != 0 ? w->options.connections : 4;
	w->options.file_mode = w->options.dir_mode = 0755;
	w->root = g_strdup_printf("http://%s127.0.0.1:%u/root", user, port);
	struct source *inner = http_source_open(w->root, &w->options, &error);
	g_assert_no_error(error);
	w->source = retry_new(inner, retries, w->options.wait_ms);
}

void world_open(struct world *w, const char *user, unsigned retries)
{
	world_connect(w, user, liar_port(w->liar), retries);
}

struct world *world_new(void)
{
	struct world *w = g_new0(struct world, 1);
	w->liar = liar_new();
	w->options.no_netrc = true;
	return w;
}

void world_free(struct world *w)
{
	if (w->source != NULL)
		source_close(w->source);
	liar_free(w->liar);
	g_free(w->root);
	g_free(w);
}

/* ---- requests that are waited for ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void outcome_set(struct outcome *o, const GError *error)
{
	if (error != NULL) {
		g_test_message("%s", error->message);
		g_assert_null(strstr(error->message, "secret"));
		g_assert_null(strpbrk(error->message, "\r\n"));
	}
	pthread_mutex_lock(&lock);
	o->error = error != NULL ? g_error_copy(error) : NULL;
	o->over = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void outcome_wait(struct outcome *o)
{
	pthread_mutex_lock(&lock);
	while (!o->over)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

void outcome_check(struct outcome *o, int code)
{
	if (code < 0)
		g_assert_no_error(o->error);
	else
		g_assert_error(o->error, FETCH_ERROR, code);
	g_clear_error(&o->error);
}

/* ---- reads ---- */

static int reading_begin(struct source_read *r)
{
	return ((struct reading *)r)->refuse;
}

static int reading_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct reading *x = (struct reading *)r;
	g_assert_cmpuint(offset - r->offset, ==, x->count);
	g_assert_cmpuint(x->count + length, <, sizeof(x->got));
	memcpy(x->got + x->count, buffer, length);
	x->count += length;
	return 0;
}

static void reading_done(struct source_request *request, const GError *error)
{
	outcome_set(&((struct reading *)request)->outcome, error);
}

void reading_start(struct reading *x, struct source *s, uint64_t offset, uint64_t length)
{
	reading_start_path(x, s, "dir/a file", offset, length);
}

void reading_start_path(struct reading *x, struct source *s, const char *path, uint64_t offset,
                        uint64_t length)
{
	x->r.base.path = (char *)path;
	x->r.base.done = reading_done;
	x->r.offset = offset;
	x->r.length = length;
	x->r.size = 10;
	x->r.begin = reading_begin;
	x->r.data = reading_data;
	source_read(s, &x->r);
}

void check_read(struct world *w, int code, const char *bytes)
{
	struct reading x = {0};
	reading_start(&x, w->source, 2, 4);
	outcome_wait(&x.outcome);
	outcome_check(&x.outcome, code);
	g_assert_cmpstr(x.got, ==, bytes);
}

/* ---- attributes and listings ---- */

struct stating {
	struct source_stat s; /* first */
	struct outcome outcome;
};

static void stating_done(struct source_request *request, const GError *error)
{
	outcome_set(&((struct stating *)request)->outcome, error);
}

void check_stat(struct world *w, int code, uint64_t size)
{
	check_listed(w, "f", 0, code, size);
}

void check_listed(struct world *w, const char *path, uint64_t listed, int code, uint64_t size)
{
	struct stating x = {
	        .s = {.base = {.path = (char *)path, .done = stating_done}, .listed = listed}};
	source_stat(w->source, &x.s);
	outcome_wait(&x.outcome);
	outcome_check(&x.outcome, code);
	g_assert_cmpuint(x.s.size, ==, size);
}

struct listing_call {
	struct source_list l; /* first */
	struct outcome outcome;
};

static void listing_done(struct source_request *request, const GError *error)
{
	outcome_set(&((struct listing_call *)request)->outcome, error);
}

struct listing *check_list(struct world *w, struct listing *previous, int code)
{
	return check_listing(w, "dir", previous, code);
}

struct listing *check_listing(struct world *w, const char *path, struct listing *previous, int code)
{
	struct listing_call x = {
	        .l = {.base = {.path = (char *)path, .done = listing_done}, .previous = previous}};
	source_list(w->source, &x.l);
	outcome_wait(&x.outcome);
	outcome_check(&x.outcome, code);
	return x.l.listing;
}

/* ---- the environment ---- */

char *home_make(void)
{
	static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
	                                      "all_proxy", "ALL_PROXY"};
	for (size_t i = 0; i < G_N_ELEMENTS(proxies); i++)
		g_unsetenv(proxies[i]);
	char *home = g_dir_make_tmp("lacunafs-http-XXXXXX", NULL);
	g_autofree char *netrc = g_build_filename(home, ".netrc", NULL);
	g_assert_true(g_file_set_contents(netrc, "machine 127.0.0.1 login nu password net-secret\n",
	                                  -1, NULL));
	g_setenv("HOME", home, TRUE);
	return home;
}

void home_remove(char *home)
{
	static const char *const names[] = {".netrc", "token"};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(home, names[i], NULL);
		g_unlink(path);
	}
	g_rmdir(home);
	g_free(home);
}
