/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* An HTTP server on loopback that sends prescribed answers, true or not.
 * Shape:   the first rule whose text is in the request's head answers it, "" being in
 *          every head; a rule that has a count is gone when used up
 * Locking: rules and log under one mutex; one thread a connection
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct liar;

#define LIAR_LATE_MS 1000

enum liar_end {
	LIAR_KEEP,  /* the connection waits for the next request */
	LIAR_CUT,   /* it is closed */
	LIAR_STALL, /* nothing more comes, until liar_free() */
	LIAR_LATE,  /* it comes after LIAR_LATE_MS, and the connection waits */
	LIAR_DRIP,  /* a byte every 50 ms from the head's end on */
};

struct liar *liar_new(void);
void liar_free(struct liar *l);
unsigned liar_port(const struct liar *l);
/* `answer`: as on the wire, but for '|', which stands for a line end. `times` 0 = always. */
void liar_tell(struct liar *l, const char *match, unsigned times, enum liar_end end,
               const char *answer);
/* Beyond `most` requests at a time the answer is `refusal`; each request then takes 20 ms. */
void liar_limit(struct liar *l, unsigned most, const char *refusal);
/* How many requests had `text` in their head; "" = all. */
unsigned liar_count(struct liar *l, const char *text);
