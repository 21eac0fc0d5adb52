/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/mounting.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/area.h"
#include "fuse/daemon/helper.h"
#include "fuse/keeper/keeping.h"
#include "fuse/ops/ops.h"

/* libfuse's message, which it prints in pieces; only warnings and errors. */
static __thread char said[1024];

static void said_add(const char *piece)
{
	static const char prefix[] = "fuse: ";
	size_t length = strlen(said);
	if (length && said[length - 1] == '\n')
		g_strlcpy(said + length - 1, "; ", sizeof(said) - length + 1);
	g_strlcat(said, g_str_has_prefix(piece, prefix) ? piece + strlen(prefix) : piece,
	          sizeof(said));
}

static void log_line(enum fuse_log_level level, const char *format, va_list ap) G_GNUC_PRINTF(2, 0);
static void log_line(enum fuse_log_level level, const char *format, va_list ap)
{
	char piece[512];
	vsnprintf(piece, sizeof(piece), format, ap);
	if (level <= FUSE_LOG_WARNING)
		said_add(piece);
	g_strchomp(piece);
	if (level > FUSE_LOG_WARNING)
		g_debug("libfuse: %s", piece);
	else
		g_info("libfuse: %s", piece);
}

static char *fsname_of(const char *source)
{
	GString *option = g_string_new("fsname=");
	for (const char *c = source; *c; c++) {
		if (*c == ',' || *c == '\\')
			g_string_append_c(option, '\\');
		g_string_append_c(option, *c);
	}
	return g_string_free(option, FALSE);
}

/* As one list for -o; caller frees. */
static char *options_join(const struct server *s)
{
	const struct settings *settings = s->settings;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
	bool named = false;
	g_ptr_array_add(list, g_strdup("subtype=lacunafs,default_permissions"));
	g_ptr_array_add(list, g_strdup(s->read_only ? "ro" : "rw"));
	for (guint n = 0; settings->fuse_options && n < settings->fuse_options->len; n++) {
		const char *option = settings->fuse_options->pdata[n];
		named |= g_str_has_prefix(option, "fsname=");
		if (strcmp(option, "rw") != 0 && strcmp(option, "ro") != 0)
			g_ptr_array_add(list, g_strdup(option));
	}
	if (!named)
		g_ptr_array_add(list, fsname_of(settings->source));
	if (settings->debug)
		g_ptr_array_add(list, g_strdup("debug"));
	g_ptr_array_add(list, NULL);
	return g_strjoinv(",", (char **)list->pdata);
}

bool mounting_asks(const struct settings *settings, const char *on, const char *off, bool otherwise)
{
	for (guint n = 0; settings->fuse_options && n < settings->fuse_options->len; n++) {
		const char *option = settings->fuse_options->pdata[n];
		if (strcmp(option, on) == 0 || strcmp(option, off) == 0)
			otherwise = strcmp(option, on) == 0;
	}
	return otherwise;
}

bool mounting_prepare(struct server *s, GError **error)
{
	g_autofree char *options = options_join(s);
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&args, "lacunafs");
	fuse_opt_add_arg(&args, "-o");
	fuse_opt_add_arg(&args, options);
	fuse_set_log_func(log_line);
	said[0] = '\0';
	s->session = fuse_session_new(&args, &server_ops, sizeof(server_ops), s);
	fuse_opt_free_args(&args);
	if (s->session)
		return true;
	g_set_error(error, FETCH_ERROR, FETCH_USAGE, "bad mount options: %s",
	            said[0] ? g_strchomp(said) : "libfuse gives no reason");
	return false;
}

char *mounting_complaint(void)
{
	char *words = said[0] ? g_strchomp(g_strdup(said)) : NULL;
	said[0] = '\0';
	return words;
}

bool mounting_do(struct server *s, GError **error)
{
	s->second_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int fd = helper_mount(&s->device, error);
	g_autofree char *device = g_strdup_printf("/dev/fd/%d", fd);
	if (fd >= 0 && fuse_session_mount(s->session, device) == 0)
		return true;
	if (fd >= 0) {
		g_autofree char *why = mounting_complaint();
		g_set_error(error, LOCAL_ERROR, EIO, "%s: %s", s->settings->mountpoint,
		            why ? why : "libfuse gives no reason");
		close(fd);
		helper_unmount(s->device, false);
	}
	if (s->second_fd >= 0)
		close(s->second_fd);
	s->second_fd = -1;
	return false;
}

bool mounting_resume(struct server *s, GError **error)
{
	g_autofree char *point = g_strdup_printf("/dev/fd/%d", s->keeping->fds[KEPT_DEVICE]);
	s->second_fd = s->keeping->fds[KEPT_SECOND];
	s->device = s->area->device;
	if (fuse_session_mount(s->session, point) == 0)
		return true;
	g_set_error(error, LOCAL_ERROR, EIO, "%s: cannot be taken over: %s",
	            s->settings->mountpoint, g_strchomp(said));
	return false;
}

void mounting_drop(struct server *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return; /* it is closed at the end */
	dup3(null, fuse_session_fd(s->session), O_CLOEXEC);
	close(null);
}

void mounting_end(struct server *s)
{
	struct pollfd p = {.fd = fuse_session_fd(s->session)};
	keeping_leave(s->keeping);
	bool gone = poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
	mounting_drop(s);
	helper_unmount(s->device, gone);
}
