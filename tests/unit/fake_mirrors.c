/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fake_mirrors.h"
#include <string.h>

static char byte_at(source_version version, uint64_t offset)
{
	return (char)(offset * 7 + offset / 256 + version);
}

static void read_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_read *r = (struct source_read *)request;
	uint64_t want = f->code == GOOD ? UINT64_MAX : f->bytes;
	char buffer[SIZE];
	if (want == 0)
		return;
	if (r->pinned != 0 && r->pinned != f->version) {
		g_set_error(error, FETCH_ERROR, FETCH_CHANGED, "another version");
		return;
	}
	r->length = MIN(r->length, r->size - r->offset);
	r->version = f->version;
	int result = r->begin(r);
	uint64_t length = MIN(r->length, want);
	for (uint64_t i = 0; i < length; i++)
		buffer[i] = byte_at(f->version, r->offset + i);
	if (result == 0)
		r->data(r, r->offset, buffer, length);
}

static void stat_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_stat *r = (struct source_stat *)request;
	r->size = SIZE;
	r->version = f->version;
}

static void list_answer(struct fake *f, struct source_request *request, GError **error)
{
	struct source_list *r = (struct source_list *)request;
	char validator[32];
	g_snprintf(validator, sizeof(validator), "O%016" G_GINT64_MODIFIER "x",
	           (guint64)f->base.shape);
	if (f->code == GOOD)
		r->listing = listing_builder_finish(listing_builder_new(), validator, 0, NULL);
}

static void fake_ring(struct alarm *alarm)
{
	struct call *c = (struct call *)alarm;
	struct fake *f = c->fake;
	struct source_request *request = c->request;
	g_autoptr(GError) error = NULL;
	c->answer(f, request, &error);
	if (error == NULL && f->code != GOOD)
		error = g_error_new(FETCH_ERROR, f->code, "as told");
	if (f->wait_ms > 0)
		request->retry_ns = clock_now() + f->wait_ms * MS;
	g_free(c);
	request->done(request, error);
}

static void fake_submit(struct source *s, struct source_request *request,
                        void (*answer)(struct fake *, struct source_request *, GError **))
{
	struct fake *f = (struct fake *)s;
	struct call *c = g_new0(struct call, 1);
	*c = (struct call){{.ring = fake_ring}, f, request, answer};
	__atomic_add_fetch(&f->asked, 1, __ATOMIC_RELAXED);
	alarm_set(f->clock, &c->alarm, clock_now());
}

static void fake_list(struct source *s, struct source_list *req)
{
	fake_submit(s, &req->base, list_answer);
}

static void fake_stat(struct source *s, struct source_stat *req)
{
	__atomic_store_n(&((struct fake *)s)->demand, req->demand, __ATOMIC_RELAXED);
	fake_submit(s, &req->base, stat_answer);
}

static void fake_read(struct source *s, struct source_read *req)
{
	__atomic_store_n(&((struct fake *)s)->demand, req->demand, __ATOMIC_RELAXED);
	fake_submit(s, &req->base, read_answer);
}

/* Waits for the callbacks. */
static void fake_close(struct source *s)
{
	alarm_clock_free(((struct fake *)s)->clock);
}

static char *fake_describe(struct source *s, const char *path)
{
	return g_strdup_printf("fake:%s", path);
}

static const struct source_ops fake_ops = {
        .name = "fake",
        .list = fake_list,
        .stat = fake_stat,
        .read = fake_read,
        .close = fake_close,
        .describe = fake_describe,
};

void world_begin(struct world *w, unsigned count, unsigned retry_ms, unsigned takeover_ms)
{
	const struct mirrors_options options = {retry_ms, takeover_ms};
	struct source *inner[3];
	*w = (struct world){0};
	for (unsigned i = 0; i < count; i++) {
		w->fakes[i] = (struct fake){.base = {.ops = &fake_ops, .shape = 11 + i},
		                            .clock = alarm_clock_new(),
		                            .code = GOOD,
		                            .version = 5};
		inner[i] = &w->fakes[i].base;
	}
	w->mirrors = mirrors_new(inner, count, &options);
	w->source = mirrors_source(w->mirrors);
}

void world_end(struct world *w)
{
	source_close(w->source);
}

unsigned asked(struct world *w, unsigned i)
{
	return __atomic_exchange_n(&w->fakes[i].asked, 0, __ATOMIC_RELAXED);
}

static int answer_begin(struct source_read *r)
{
	struct answer *a = (struct answer *)r;
	a->begins++;
	a->next = r->offset;
	return 0;
}

static int answer_data(struct source_read *r, uint64_t offset, const void *buffer, size_t length)
{
	struct answer *a = (struct answer *)r;
	g_assert_cmpuint(offset, ==, a->next);
	memcpy(a->got + offset, buffer, length);
	a->next += length;
	return 0;
}

static void answer_done(struct source_request *request, const GError *error)
{
	struct answer *a = (struct answer *)request;
	mutex_lock(&a->lock);
	a->error = error != NULL ? g_error_copy(error) : NULL;
	a->done = true;
	condition_signal(&a->over);
	mutex_unlock(&a->lock);
}

void answer_init(struct answer *a, const char *path)
{
	*a = (struct answer){.r.base = {.path = (char *)path, .done = answer_done}};
	mutex_init(&a->lock, RANK_LISTER);
	condition_init(&a->over);
}

static void answer_wait(struct answer *a)
{
	mutex_lock(&a->lock);
	while (!a->done)
		condition_wait(&a->over, &a->lock);
	mutex_unlock(&a->lock);
	mutex_destroy(&a->lock);
	condition_destroy(&a->over);
}

/* The code of the failure; GOOD. Frees the error. */
static int answer_code(struct answer *a)
{
	int code = GOOD;
	if (a->error != NULL) {
		g_assert_true(a->error->domain == FETCH_ERROR);
		code = a->error->code;
	}
	g_clear_error(&a->error);
	return code;
}

int read_file(struct world *w, struct answer *a, const char *path, source_version pinned)
{
	answer_init(a, path);
	a->r.read.length = a->r.read.size = SIZE;
	a->r.read.pinned = pinned;
	a->r.read.begin = answer_begin;
	a->r.read.data = answer_data;
	source_read(w->source, &a->r.read);
	answer_wait(a);
	int code = answer_code(a);
	for (uint64_t i = 0; i < a->next; i++)
		g_assert_cmpint(a->got[i], ==, byte_at(a->r.read.version, i));
	g_assert_true(code != GOOD || (a->begins == 1 && a->next == SIZE));
	return code;
}

int list_directory(struct world *w, struct answer *a, struct listing *previous)
{
	answer_init(a, "d");
	a->r.list.previous = previous;
	source_list(w->source, &a->r.list);
	answer_wait(a);
	return answer_code(a);
}

bool made_by(struct world *w, struct listing *l, unsigned mirror)
{
	return source_shape_is(&w->fakes[mirror].base, listing_validator(l));
}

struct state {
	unsigned index;
	bool failed[3], cause[3];
	uint64_t errors[3];
};

static void state_of(const struct mirror_info *m, void *user)
{
	struct state *s = user;
	s->failed[s->index] = m->failed;
	s->cause[s->index] = m->cause != NULL;
	s->errors[s->index++] = m->errors;
}

bool has_failed(struct world *w, unsigned i)
{
	struct state s = {0};
	mirrors_foreach(w->mirrors, state_of, &s);
	return s.failed[i];
}

void failed_is_told(void)
{
	g_test_expect_message("lacunafs", G_LOG_LEVEL_WARNING,
	                      "mirror 1 * failed, mirror 2 * is used: *");
}

void detour_is_told(void)
{
	g_test_expect_message("lacunafs", G_LOG_LEVEL_MESSAGE,
	                      "mirror 1 * did not serve a request*");
}

void log_nothing(const char *domain, GLogLevelFlags level, const char *text, void *user)
{
}
