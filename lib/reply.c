/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "lib/reply.h"

enum { TEXT_MAX = 256 };

struct value {
	enum { TEXT, NUMBER, TRUTH, NOTHING } type;
	char text[TEXT_MAX]; /* as written, with escapes; cut off */
	long number;         /* its integer part, cut off at ±1e9; of true: 1 */
};

static void blanks_skip(const char **at)
{
	*at += strspn(*at, " \t\r");
}

static bool string_scan(const char **at, char out[TEXT_MAX])
{
	size_t n = 0;
	if (*(*at)++ != '"')
		return false;
	for (; **at != '"'; (*at)++) {
		bool escape = **at == '\\';
		if (escape && !strchr("\"\\/bfnrtu", (*at)[1]))
			return false;
		for (int i = 0; i < (escape ? 2 : 1); i++) {
			if ((unsigned char)(*at)[i] < ' ') /* also the NUL at the end */
				return false;
			if (n < TEXT_MAX - 1)
				out[n++] = (*at)[i];
		}
		*at += escape;
	}
	out[n] = '\0';
	(*at)++;
	return true;
}

static bool number_scan(const char **at, long *out)
{
	bool minus = **at == '-';
	long value = 0;
	*at += minus;
	size_t digits = strspn(*at, "0123456789");
	if (digits == 0 || (digits > 1 && **at == '0'))
		return false;
	for (; digits; digits--, (*at)++)
		value = value >= 100000000 ? 1000000000 : value * 10 + (**at - '0');
	*out = minus ? -value : value;
	*at += strspn(*at, "0123456789.eE+-");
	return true;
}

static bool word_scan(const char **at, const char *word)
{
	size_t n = strlen(word);
	if (strncmp(*at, word, n) != 0)
		return false;
	*at += n;
	return true;
}

static bool value_scan(const char **at, struct value *v)
{
	*v = (struct value){.type = TEXT};
	if (**at == '"')
		return string_scan(at, v->text);
	v->type = TRUTH;
	if (word_scan(at, "false"))
		return true;
	v->number = 1;
	if (word_scan(at, "true"))
		return true;
	v->type = NOTHING;
	if (word_scan(at, "null"))
		return true;
	v->type = NUMBER;
	return number_scan(at, &v->number);
}

/* The meaning of the daemon's words. A daemon that does not know the verb has no handlers. */
static int refusal(const char *text)
{
	static const struct {
		const char *words;
		int error;
	} known[] = {
	        {"too many", EAGAIN},
	        {"owner of the mount", EACCES},
	        {"of that name", EBUSY},
	        {"attach:", EINVAL},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strstr(text, known[i].words))
			return -known[i].error;
	return -ENOTTY;
}

struct attach_reply {
	long attached, error;
	int inherited;
	bool refused;
	char why[TEXT_MAX];
};

static bool member_take(struct attach_reply *r, const char *name, const struct value *v)
{
	if (strcmp(name, "attached") == 0) {
		r->attached = v->number;
		return v->type == NUMBER;
	}
	if (strcmp(name, "inherited") == 0) {
		r->inherited = v->number != 0;
		return v->type == TRUTH;
	}
	if (strcmp(name, "errno") == 0) {
		r->error = v->number;
		return v->type == NUMBER && v->number > 0 && v->number < 4096;
	}
	if (strcmp(name, "error") == 0) {
		r->refused = true;
		memcpy(r->why, v->text, TEXT_MAX);
		return v->type == TEXT;
	}
	return true; /* from a newer daemon */
}

static bool object_scan(const char **at, struct attach_reply *r)
{
	char name[TEXT_MAX];
	struct value v;
	if (!word_scan(at, "{"))
		return false;
	do {
		blanks_skip(at);
		if (!string_scan(at, name))
			return false;
		blanks_skip(at);
		if (!word_scan(at, ":"))
			return false;
		blanks_skip(at);
		if (!value_scan(at, &v) || !member_take(r, name, &v))
			return false;
		blanks_skip(at);
	} while (word_scan(at, ","));
	return word_scan(at, "}");
}

int reply_parse(const char *line, int *inherited)
{
	struct attach_reply r = {0};
	blanks_skip(&line);
	if (!object_scan(&line, &r))
		return -EPROTO;
	blanks_skip(&line);
	if (*line != '\0')
		return -EPROTO;
	if (r.refused)
		return r.error ? -(int)r.error : refusal(r.why);
	if (r.attached != 1)
		return -EPROTO;
	*inherited = r.inherited;
	return 0;
}
