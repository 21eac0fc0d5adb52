/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/rules.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include "lib/hsm/abi.h"

#define PRE HSM_PRE_ACCESS
#define CHILD ((uint32_t)FAN_EVENT_ON_CHILD)

/* The kernel's answers, and other values. */
static void test_response(void)
{
	static const struct {
		uint32_t response;
		int expect, error;
	} table[] = {
	        {FAN_ALLOW, 0, 0},
	        {FAN_DENY, 0, 0},
	        {FAN_DENY | EPERM << 24, 0, EPERM},
	        {FAN_DENY | EIO << 24, 0, EIO},
	        {FAN_DENY | EBUSY << 24, 0, EBUSY},
	        {FAN_DENY | ETXTBSY << 24, 0, ETXTBSY},
	        {FAN_DENY | EAGAIN << 24, 0, EAGAIN},
	        {FAN_DENY | ENOSPC << 24, 0, ENOSPC},
	        {FAN_DENY | EDQUOT << 24, 0, EDQUOT},
	        {FAN_DENY | ENOENT << 24, -EINVAL, 0},
	        {FAN_DENY | 255u << 24, -EINVAL, 0},
	        {FAN_ALLOW | EIO << 24, -EINVAL, 0},
	        {FAN_ALLOW | FAN_DENY, -EINVAL, 0},
	        {0, -EINVAL, 0},
	        {FAN_ALLOW | FAN_AUDIT, -EINVAL, 0},
	        {FAN_ALLOW | 0x40, -EINVAL, 0},
	        {FAN_ALLOW | 0x10000, -EINVAL, 0},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
		const struct fanotify_response r[2] = {{.fd = 7, .response = table[i].response}};
		bool allow = false;
		int fd = -1, error = 0;
		size_t taken = 0;
		int got = rules_response(r, sizeof(r), 0, &fd, &allow, &error, &taken);
		g_assert_cmpint(got, ==, table[i].expect);
		if (got < 0)
			continue;
		g_assert_cmpint(fd, ==, 7);
		g_assert_cmpint(error, ==, table[i].error);
		g_assert_cmpint(allow, ==, table[i].response == FAN_ALLOW);
		g_assert_cmpint(taken, ==, sizeof(*r)); /* one of two: the kernel takes one */
	}
}

static void test_response_form(void)
{
	struct {
		struct fanotify_response r;
		struct hsm_info_audit info;
	} whole = {.r = {.fd = 7, .response = FAN_ALLOW | HSM_RESPONSE_INFO},
	           .info = {.header = {.type = 1, .length = sizeof(whole.info)}}};
	bool allow;
	int fd, error;
	size_t taken;
#define RESPONSE(size) rules_response(&whole, size, 0, &fd, &allow, &error, &taken)
	g_assert_cmpint(RESPONSE(sizeof(whole)), ==, 0);
	g_assert_cmpint(taken, ==, sizeof(whole));
	g_assert_cmpint(RESPONSE(sizeof(whole) - 1), ==, -EINVAL);
	g_assert_cmpint(RESPONSE(sizeof(whole.r)), ==, -EINVAL);
	whole.r.fd = FAN_NOFD;
	g_assert_cmpint(RESPONSE(sizeof(whole)), ==, 1);
	whole.info.header.pad = 1;
	g_assert_cmpint(RESPONSE(sizeof(whole)), ==, -EINVAL);
	whole.r = (struct fanotify_response){.fd = -1, .response = FAN_ALLOW};
	for (size_t size = 0; size <= sizeof(whole.r); size++)
		g_assert_cmpint(RESPONSE(size), ==, -EINVAL);
}

static void test_marks(void)
{
	struct rules_mark m = {0};
	g_assert_cmpint(rules_mark_remove(&m, FAN_MARK_REMOVE, PRE, false), ==, -ENOENT);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD, PRE | CHILD, false), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, false), ==, RULES_OBJECT);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD | HSM_MARK_EVICTABLE, PRE, false), ==,
	                -EEXIST);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD, FAN_ONDIR, false), ==, -EEXIST);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, PRE, false), ==,
	                0);
	g_assert_cmpint(rules_mark_effect(&m, false), ==, RULES_OBJECT | RULES_IGNORE_OBJECT);
	g_assert_cmpint(rules_mark_remove(&m, FAN_MARK_REMOVE, PRE, false), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, false), ==, RULES_IGNORE_OBJECT);
	g_assert_cmpint(rules_mark_remove(&m, FAN_MARK_REMOVE | FAN_MARK_IGNORED_MASK, PRE, false),
	                ==, 0);
	g_assert_false(m.is);
}

/* The part of a directory's mark that applies to its children. */
static void test_children(void)
{
	struct rules_mark m = {0};
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD, PRE, true), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, true), ==, 0);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD, CHILD, true), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, true), ==, RULES_CHILDREN);
	/* The old way excepts them if they are asked for, the new one if it says so */
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, PRE, true), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, true), ==, RULES_CHILDREN | RULES_IGNORE_CHILDREN);
	unsigned ignore = FAN_MARK_ADD | HSM_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY;
	g_assert_cmpint(rules_mark_add(&m, ignore, PRE, true), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, true), ==, RULES_CHILDREN);
	g_assert_cmpint(rules_mark_add(&m, ignore, PRE | CHILD, true), ==, 0);
	g_assert_cmpint(rules_mark_effect(&m, true), ==, RULES_CHILDREN | RULES_IGNORE_CHILDREN);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD | FAN_MARK_IGNORED_MASK, PRE, true), ==,
	                -EEXIST);
	g_assert_cmpint(rules_mark_add(&m, FAN_MARK_ADD | HSM_MARK_IGNORE, PRE, true), ==, -EEXIST);
}

static void test_init(void)
{
	g_assert_cmpint(rules_init(FAN_CLASS_PRE_CONTENT, O_RDWR), ==, 0);
	g_assert_cmpint(rules_init(FAN_CLASS_PRE_CONTENT | FAN_REPORT_FID, O_RDWR), ==, -EINVAL);
	g_assert_cmpint(
	        rules_init(FAN_CLASS_PRE_CONTENT | FAN_REPORT_TID | FAN_REPORT_PIDFD, O_RDWR), ==,
	        -EINVAL);
	g_assert_cmpint(rules_init(FAN_CLASS_PRE_CONTENT, O_ACCMODE), ==, -EINVAL);
	g_assert_cmpint(rules_init(FAN_CLASS_PRE_CONTENT, O_RDWR | O_TRUNC), ==, -EINVAL);
	g_assert_cmpint(rules_init(FAN_CLASS_PRE_CONTENT | 0x8000, O_RDWR), ==, -EINVAL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hsm/init", test_init);
	g_test_add_func("/hsm/marks", test_marks);
	g_test_add_func("/hsm/children", test_children);
	g_test_add_func("/hsm/response", test_response);
	g_test_add_func("/hsm/response-form", test_response_form);
	return g_test_run();
}
