/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/control/verifier.h"
#include "fetch/base/pool.h"
#include "fetch/check/check.h"
#include "fuse/base/check_json.h"
#include "fuse/base/json.h"
#include "fuse/inode/server.h"

#define LINE_NS INT64_C(500000000) /* between two lines that tell how far it is */

struct verifier {
	const struct verifier_ops *ops;
	void *user;
	int64_t reported_ns;
	bool gone;
};

static void send(struct verifier *v, JsonBuilder *b)
{
	json_builder_end_object(b);
	v->gone = v->gone || !v->ops->line(v->user, b);
	v->reported_ns = clock_now();
	g_object_unref(b);
}

static JsonBuilder *line_new(void)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	return b;
}

static void found(void *user, const struct check_finding *f)
{
	JsonBuilder *b = line_new();
	check_json_add_finding(b, f);
	send(user, b);
}

static bool goes_on(void *user, const struct check_totals *so_far)
{
	struct verifier *v = user;
	if (clock_now() - v->reported_ns > LINE_NS) {
		JsonBuilder *b = line_new();
		check_json_add_totals(b, so_far);
		send(v, b);
	}
	return !v->gone && v->ops->wanted(v->user);
}

void verifier_run(struct server *s, bool repair, bool bytes, const struct verifier_ops *ops,
                  void *user)
{
	static const struct check_ops check = {.found = found, .goes_on = goes_on};
	const struct check_options options = {.repair = repair, .bytes = bytes, .live = true};
	struct verifier v = {.ops = ops, .user = user, .reported_ns = clock_now()};
	struct check_totals totals;
	if (!check_store(s->store, &options, &check, &v, &totals))
		return;
	JsonBuilder *b = line_new();
	json_add_text(b, "store", store_path(s->store));
	check_json_add_totals(b, &totals);
	send(&v, b);
}
