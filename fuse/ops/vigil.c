/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/vigil.h"
#include <glib.h>
#include <stddef.h>
#include "fetch/base/lock.h"

#define LOOK_NS INT64_C(100000000)

struct vigil {
	struct alarm_clock *clock; /* borrowed */
	bool (*end_dying)(struct parked *p);
	void (*unref)(struct parked *p);
	struct alarm alarm;
	struct mutex lock;
	GQueue kept; /* of struct parked, references */
	bool ended;
};

static void vigil_look(struct alarm *alarm)
{
	struct vigil *v = (struct vigil *)((char *)alarm - offsetof(struct vigil, alarm));
	mutex_lock(&v->lock);
	GQueue now = v->kept;
	g_queue_init(&v->kept);
	mutex_unlock(&v->lock);
	for (struct parked *p; (p = g_queue_pop_head(&now));) {
		if (v->end_dying(p))
			v->unref(p);
		else
			vigil_keep(v, p);
	}
}

struct vigil *vigil_new(struct alarm_clock *clock, bool (*end_dying)(struct parked *p),
                        void (*unref)(struct parked *p))
{
	struct vigil *v = g_new0(struct vigil, 1);
	v->clock = clock;
	v->end_dying = end_dying;
	v->unref = unref;
	v->alarm.ring = vigil_look;
	mutex_init(&v->lock, RANK_VIGIL);
	g_queue_init(&v->kept);
	return v;
}

void vigil_keep(struct vigil *v, struct parked *p)
{
	mutex_lock(&v->lock);
	if (v->kept.length == 0 && !v->ended)
		alarm_set(v->clock, &v->alarm, clock_now() + LOOK_NS);
	g_queue_push_tail(&v->kept, p);
	mutex_unlock(&v->lock);
}

void vigil_free(struct vigil *v)
{
	mutex_lock(&v->lock);
	v->ended = true;
	mutex_unlock(&v->lock);
	alarm_stop(v->clock, &v->alarm);
	g_queue_clear_full(&v->kept, (GDestroyNotify)v->unref);
	mutex_destroy(&v->lock);
	g_free(v);
}
