/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/mounting.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/mounts.h"
#include "fuse/base/area.h"
#include "fuse/base/streams.h"
#include "fuse/base/unmount.h"
#include "fuse/daemon/mountpoint.h"
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

/* The output of a program that libfuse starts; its standard error was `file` meanwhile. */
static char *heard(int file)
{
	char text[2048];
	ssize_t n = file < 0 ? 0 : pread(file, text, sizeof(text) - 1, 0);
	text[MAX(n, 0)] = '\0';
	g_autofree char *words = g_strstrip(g_strdup(text));
	g_auto(GStrv) lines = g_strsplit(words, "\n", -1);
	for (char **line = lines; *line; line++)
		if (g_str_has_prefix(*line, "fusermount3: "))
			memmove(*line, *line + 13, strlen(*line + 13) + 1);
	return g_strjoinv("; ", lines);
}

static dev_t device_of(const struct mount *m)
{
	return makedev(m->major, m->minor);
}

/* If fusermount3 fails with our type, libfuse retries without: no tool would find such a mount. */
static bool identify(struct server *s, GError **error)
{
	const char *point = s->settings->mountpoint;
	g_autoptr(GPtrArray) mounts = mounts_read(NULL);
	const struct mount *m = mounts ? mounts_at(mounts, point) : NULL;
	if (m && strcmp(m->type, "fuse") == 0) {
		s->device = device_of(m);
		mounting_end(s);
		g_set_error(error, LOCAL_ERROR, EIO,
		            "%s: could not be mounted as " MOUNT_TYPE ", only as fuse", point);
		return false;
	}
	s->device = m && mount_is_ours(m) ? device_of(m) : 0;
	return true;
}

static bool mount_now(struct server *s, GError **error)
{
	const char *point = s->settings->mountpoint;
	int file = memfd_create("said", MFD_CLOEXEC);
	bool lent = file >= 0 && streams_lend(file);
	s->second_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	said[0] = '\0';
	bool ok = fuse_session_mount(s->session, point) == 0;
	if (lent)
		streams_return();
	g_autofree char *words = heard(file);
	if (file >= 0)
		close(file);
	g_strchomp(said);
	if (!ok)
		g_set_error(error, LOCAL_ERROR, EIO, "%s: %s", point,
		            *words  ? words
		            : *said ? said
		                    : "libfuse gives no reason");
	else if (*words)
		g_message("while mounting: %s", words);
	ok = ok && identify(s, error);
	if (!ok && s->second_fd >= 0)
		close(s->second_fd);
	return ok;
}

bool mounting_do(struct server *s, GError **error)
{
	const char *point = s->settings->mountpoint;
	struct mountpoint_lock lock;
	if (!mountpoint_lock(point, &lock, error))
		return false;
	bool ok = mountpoint_is_free(point, error) && mount_now(s, error);
	mountpoint_unlock(&lock);
	return ok;
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

/* libfuse unmounts the topmost mount at the path. */
static bool is_covered(const struct server *s)
{
	g_autoptr(GPtrArray) mounts = mounts_read(NULL);
	const struct mount *m = mounts ? mounts_at(mounts, s->settings->mountpoint) : NULL;
	return s->device && m && device_of(m) != s->device;
}

/* The number stays taken: a late reply must not reach another file. */
static void device_drop(struct server *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return; /* it is closed at the end */
	dup3(null, fuse_session_fd(s->session), O_CLOEXEC);
	close(null);
}

void mounting_end(struct server *s)
{
	keeping_leave(s->keeping);
	bool covered = is_covered(s);
	if (!covered && !s->resumed) {
		fuse_session_unmount(s->session);
		return;
	}
	struct pollfd p = {.fd = fuse_session_fd(s->session)};
	bool gone = poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
	if (covered)
		g_message("another file system is mounted at %s now: it is left mounted",
		          s->settings->mountpoint);
	device_drop(s);
	g_autofree char *said_why = NULL;
	int err = covered || gone ? 0 : unmount(s->settings->mountpoint, true, &said_why);
	if (err)
		g_warning("%s: cannot be unmounted: %s", s->settings->mountpoint,
		          said_why ? said_why : g_strerror(err));
}
