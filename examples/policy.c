/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* policy MOUNT [UID:OPERATION:PATTERN:ERRNO …]: decides about each operation by the first rule
 * that matches, and prints a line for every decision. UID and OPERATION may be *; PATTERN is an
 * fnmatch(3) pattern for the path in the mount; ERRNO is one that fanotify allows, or "allow". An
 * operation that no rule matches is allowed. */
#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lacuna/precontent.h"

enum { RULES_MAX = 64, THREADS = 4 };

static const char *const operations[] = {"*",    "read",  "write", "truncate",
                                         "exec", "fault", "fill",  "allocate"};
static const struct verdict {
	const char *name;
	int error;
} verdicts[] = {{"allow", 0},         {"EPERM", EPERM},   {"EIO", EIO},       {"EBUSY", EBUSY},
                {"ETXTBSY", ETXTBSY}, {"EAGAIN", EAGAIN}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}};

struct rule {
	long uid;           /* -1: everybody */
	unsigned operation; /* 0: each */
	const char *pattern;
	const struct verdict *verdict;
};

struct policy {
	struct rule rules[RULES_MAX];
	int count;
};

static struct lacuna_handler *handler;

static void on_signal(int number)
{
	lacuna_stop(handler);
}

static int rule_parse(char *text, struct rule *out)
{
	const char *uid = strtok(text, ":"), *operation = strtok(NULL, ":");
	const char *pattern = strtok(NULL, ":"), *name = strtok(NULL, ":");
	char *end = "";
	if (!name || strtok(NULL, ":"))
		return -1;
	*out = (struct rule){.uid = -1, .pattern = pattern};
	if (strcmp(uid, "*") != 0)
		out->uid = strtol(uid, &end, 10);
	const unsigned known = sizeof(operations) / sizeof(*operations);
	while (out->operation < known && strcmp(operation, operations[out->operation]) != 0)
		out->operation++;
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++)
		if (strcmp(name, verdicts[i].name) == 0)
			out->verdict = &verdicts[i];
	return *end || out->operation == known || !out->verdict ? -1 : 0;
}

static const struct verdict *decide(const struct policy *p, const struct lacuna_request *r)
{
	for (const struct rule *rule = p->rules; rule < p->rules + p->count; rule++)
		if ((rule->uid < 0 || rule->uid == (long)r->uid) &&
		    (rule->operation == 0 || rule->operation == r->operation) &&
		    fnmatch(rule->pattern, r->path, 0) == 0)
			return rule->verdict;
	return &verdicts[0];
}

/* FETCH, not ALLOW: the handler supplies no data, so the source does. */
static int answer(void *user, const struct lacuna_request *r)
{
	const struct verdict *v = decide(user, r);
	printf("%s uid=%u pid=%u %s %llu+%llu %s\n", v->name, r->uid, r->pid,
	       operations[r->operation], (unsigned long long)r->offset,
	       (unsigned long long)r->length, r->path);
	fflush(stdout);
	return v->error ? -v->error : 1;
}

int main(int argc, char **argv)
{
	struct policy p = {.count = argc - 2};
	int r = argc < 2 || p.count > RULES_MAX ? -EINVAL : 0;
	for (int i = 0; r == 0 && i < p.count; i++)
		r = rule_parse(argv[i + 2], &p.rules[i]);
	if (r != 0) {
		fprintf(stderr, "usage: policy MOUNT [UID:OPERATION:PATTERN:ERRNO …]\n");
		return 2;
	}
	const struct lacuna_options options = {
	        .size = sizeof(options), .mode = LACUNA_EVERY, .name = "policy"};
	r = lacuna_attach(argv[1], &options, &handler, NULL);
	if (r == 0) {
		signal(SIGTERM, on_signal);
		signal(SIGINT, on_signal);
		r = lacuna_mark(handler, LACUNA_MARK_ADD, LACUNA_MARK_MOUNT, NULL);
	}
	if (r == 0) {
		printf("ready\n");
		fflush(stdout);
		r = lacuna_loop(handler, THREADS, answer, &p);
	}
	lacuna_close(handler, 0);
	if (r == 0 || r == -ECONNRESET)
		return 0;
	fprintf(stderr, "policy: %s\n", strerror(-r));
	return 1;
}
