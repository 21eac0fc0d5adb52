/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "fuse/cli/screen.h"
#include "fuse/base/human.h"

struct screen {
	bool in_place;
	unsigned lines; /* on the terminal, above the cursor */
	struct sigaction int_before, term_before;
};

/* A signal handler can reach nothing else. */
static volatile sig_atomic_t interrupted;

static void note(int signal_number)
{
	interrupted = 1;
}

struct screen *screen_open(bool in_place)
{
	const struct sigaction action = {.sa_handler = note};
	struct screen *s = g_new0(struct screen, 1);
	s->in_place = in_place;
	interrupted = 0;
	sigaction(SIGINT, &action, &s->int_before);
	sigaction(SIGTERM, &action, &s->term_before);
	if (in_place)
		fputs("\033[?25l", stdout);
	fflush(stdout);
	return s;
}

void screen_close(struct screen *s)
{
	if (s->in_place)
		fputs("\033[?25h", stdout);
	fflush(stdout);
	sigaction(SIGINT, &s->int_before, NULL);
	sigaction(SIGTERM, &s->term_before, NULL);
	g_free(s);
}

void screen_clear(struct screen *s)
{
	if (s->lines)
		printf("\033[%uA\r\033[J", s->lines);
	s->lines = 0;
	fflush(stdout);
}

void screen_show(struct screen *s, const char *text)
{
	if (!s->in_place) {
		fputs(text, stdout);
		fflush(stdout);
		return;
	}
	struct winsize size = {0};
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	/* one write a picture, each line cleared behind its end: nothing flickers */
	GString *picture = g_string_new("\r");
	if (s->lines)
		g_string_append_printf(picture, "\033[%uA", s->lines);
	s->lines = 0;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	unsigned count = g_strv_length(lines), most = size.ws_row - 1u;
	if (count && !*lines[count - 1])
		count--;
	for (char **line = lines; line < lines + count && s->lines < most; line++) {
		unsigned left = count - (unsigned)(line - lines);
		g_autofree char *more = NULL;
		if (s->lines + 1 == most && left > 1)
			more = g_strdup_printf("... and %u lines more: name one mount", left);
		const char *shown = more ? more : *line;
		unsigned width = MIN(human_width(shown), size.ws_col);
		g_autofree char *cut = human_fit(shown, width, false);
		g_string_append_printf(picture, "%s\033[K\n", cut);
		s->lines++;
	}
	g_string_append(picture, "\033[J");
	fputs(picture->str, stdout);
	fflush(stdout);
	g_string_free(picture, TRUE);
}

void screen_sleep(struct screen *s, double seconds)
{
	struct timespec left = {.tv_sec = (time_t)seconds,
	                        .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
	if (!screen_interrupted(s))
		nanosleep(&left, NULL);
}

bool screen_interrupted(const struct screen *s)
{
	return interrupted || ferror(stdout);
}
