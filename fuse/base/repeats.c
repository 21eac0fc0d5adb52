/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/repeats.h"
#include <string.h>

enum { LINES_MAX = 64, BURST = 1000, A_SECOND = 10 };
#define SECOND INT64_C(1000000000)
#define QUIET_NS (60 * SECOND)

struct line {
	char *text; /* owned; NULL: unused */
	char *key;  /* owned: see key_of() */
	int64_t written_ns;
	uint64_t repeated; /* since then */
};

struct repeats {
	struct line lines[LINES_MAX];
	int64_t earned_ns; /* when the allowance was last added to; 0: never */
	double allowance;  /* lines */
	uint64_t left_out;
};

struct repeats *repeats_new(void)
{
	struct repeats *r = g_new0(struct repeats, 1);
	r->allowance = BURST;
	return r;
}

static const char *digits_skip(const char *p)
{
	while (g_ascii_isdigit(*p))
		p++;
	return p;
}

/* The text without what differs for one cause: a transfer's range, and curl's times. Caller frees.
 */
static char *key_of(const char *text)
{
	static const char *const words[] = {"(bytes ", " to ", "after "};
	GString *key = g_string_new(NULL);
	bool range = false;
	for (const char *p = text; *p;) {
		bool skipped = false;
		for (unsigned n = 0; n < G_N_ELEMENTS(words) && !skipped; n++) {
			if ((n == 1 && !range) || !g_str_has_prefix(p, words[n]))
				continue;
			g_string_append(key, words[n]);
			p = digits_skip(p + strlen(words[n]));
			range = n == 0;
			skipped = true;
		}
		if (!skipped)
			g_string_append_c(key, *p++);
	}
	return g_string_free(key, FALSE);
}

static void line_end(struct line *l, GPtrArray *before)
{
	if (l->repeated)
		g_ptr_array_add(before, g_strdup_printf("%" G_GUINT64_FORMAT " times more: %s",
		                                        l->repeated, l->text));
	g_free(l->text);
	g_free(l->key);
	*l = (struct line){0};
}

/* The line with this key, else one that is free: the oldest, if all are used. */
static struct line *line_find(struct repeats *r, const char *key, int64_t now_ns, GPtrArray *before)
{
	struct line *oldest = &r->lines[0];
	for (unsigned i = 0; i < LINES_MAX; i++) {
		struct line *l = &r->lines[i];
		if (l->text && now_ns - l->written_ns >= QUIET_NS)
			line_end(l, before);
		if (l->text && strcmp(l->key, key) == 0)
			return l;
		if (!l->text || (oldest->text && l->written_ns < oldest->written_ns))
			oldest = l;
	}
	return oldest;
}

static bool allowed(struct repeats *r, int64_t now_ns, GPtrArray *before)
{
	if (r->earned_ns)
		r->allowance += (double)(now_ns - r->earned_ns) / SECOND * A_SECOND;
	r->allowance = MIN(r->allowance, BURST);
	r->earned_ns = now_ns;
	if (r->allowance < 1) {
		r->left_out++;
		return false;
	}
	r->allowance--;
	if (r->left_out)
		g_ptr_array_add(before,
		                g_strdup_printf("%" G_GUINT64_FORMAT
		                                " lines were left out: too many came at once",
		                                r->left_out));
	r->left_out = 0;
	return true;
}

bool repeats_pass(struct repeats *r, const char *text, int64_t now_ns, GPtrArray *before)
{
	g_autofree char *key = key_of(text);
	struct line *l = line_find(r, key, now_ns, before);
	if (l->text && strcmp(l->key, key) == 0) {
		l->repeated++;
		return false;
	}
	if (!allowed(r, now_ns, before))
		return false;
	line_end(l, before);
	*l = (struct line){g_strdup(text), g_steal_pointer(&key), now_ns, 0};
	return true;
}

void repeats_end(struct repeats *r, GPtrArray *before)
{
	for (unsigned i = 0; i < LINES_MAX; i++)
		line_end(&r->lines[i], before);
	if (r->left_out)
		g_ptr_array_add(before, g_strdup_printf("%" G_GUINT64_FORMAT " lines were left out",
		                                        r->left_out));
	r->left_out = 0;
}
