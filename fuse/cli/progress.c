/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <glib.h>
#include <stdio.h>
#include <unistd.h>
#include "fuse/cli/progress.h"
#include "fetch/base/pool.h"
#include "fuse/base/human.h"
#include "fuse/cli/bar.h"
#include "fuse/cli/screen.h"

#define SECOND INT64_C(1000000000)

enum { BAR_COLUMNS = 20 };

void progress_open(struct progress *p)
{
	*p = (struct progress){
	        .terminal = isatty(STDOUT_FILENO),
	        .utf8 = bar_utf8(),
	        .started_ns = clock_now(),
	};
	p->sampled_ns = p->shown_ns = p->started_ns;
	p->screen = screen_open(p->terminal);
}

/* Half of the rate shown is that of the last second or so. */
static void rate_sample(struct progress *p, int64_t now)
{
	int64_t passed = now - p->sampled_ns;
	if (passed < SECOND)
		return;
	double current = (double)(p->fetched - p->sampled) * SECOND / (double)passed;
	bool first = p->sampled_ns == p->started_ns;
	p->rate = first ? current : (p->rate + current) / 2;
	p->sampled = p->fetched;
	p->sampled_ns = now;
}

static void append_figures(const struct progress *p, GString *line)
{
	g_autofree char *present = human_size(p->present);
	g_autofree char *bytes = human_size(p->bytes);
	g_autofree char *done = human_count(p->files_done);
	g_autofree char *files = human_count(p->files);
	g_autofree char *rate = human_size((uint64_t)p->rate);
	if (p->looking) {
		g_string_append_printf(line, "looking: %s files, %s", files, bytes);
		return;
	}
	g_string_append_printf(line, "%s of %s, %s of %s files, %s/s", present, bytes, done, files,
	                       rate);
	if (p->rate >= 1 && p->present < p->bytes) {
		g_autofree char *left = human_duration((double)(p->bytes - p->present) / p->rate);
		g_string_append_printf(line, ", %s left", left);
	}
	if (p->failures)
		g_string_append_printf(line, ", %u failed", p->failures);
}

void progress_update(struct progress *p)
{
	int64_t now = clock_now();
	rate_sample(p, now);
	if (now - p->shown_ns < (p->terminal ? SECOND / 10 : 5 * SECOND))
		return;
	p->shown_ns = now;
	g_autoptr(GString) line = g_string_new(NULL);
	if (p->terminal && !p->looking) {
		g_autofree char *bar = bar_progress(p->present, p->bytes, BAR_COLUMNS, p->utf8);
		g_string_append_printf(line, "%s ", bar);
	}
	append_figures(p, line);
	g_string_append_c(line, '\n');
	screen_show(p->screen, line->str);
}

void progress_clear(struct progress *p)
{
	screen_clear(p->screen);
}

static void print_summary(const struct progress *p, bool interrupted)
{
	g_autofree char *present = human_size(p->present);
	g_autofree char *fetched = human_size(p->fetched);
	g_autofree char *done = human_count(p->files_done);
	g_autofree char *files = human_count(p->files);
	g_autofree char *took =
	        human_duration((double)(clock_now() - p->started_ns) / (double)SECOND);
	printf("%s%s of %s files, %s, of which %s fetched in %s",
	       interrupted ? "interrupted: " : "", done, files, present, fetched, took);
	if (p->failures)
		printf(", %u failed", p->failures);
	putchar('\n');
}

void progress_close(struct progress *p, bool summary, bool interrupted)
{
	screen_clear(p->screen);
	if (summary)
		print_summary(p, interrupted);
	screen_close(p->screen);
	p->screen = NULL;
}

bool progress_interrupted(const struct progress *p)
{
	return screen_interrupted(p->screen);
}
