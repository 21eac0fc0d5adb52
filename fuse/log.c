/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fetch/pool.h"
#include "fuse/human.h"
#include "fuse/log.h"
#include "fuse/repeats.h"

enum { PENDING_MAX = 65536, FILE_MAX = 4 << 20 };

static struct {
	pthread_mutex_t lock;
	char *file, *store; /* owned; file NULL: stderr */
	int fd;             /* -1: not open yet */
	GString *pending;   /* lines from before the file was there */
	bool take_stderr;
	struct repeats *repeats;
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

void log_redact(char *text)
{
	for (char *p = text; (p = strstr(p, "://"));) {
		p += 3;
		size_t length = strcspn(p, "/?# \t\n\"'<>");
		char *at = memrchr(p, '@', length);
		for (; at && p < at; p++)
			*p = 'x';
	}
}

static const char *level_name(GLogLevelFlags level)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
		return "CRITICAL";
	if (level & G_LOG_LEVEL_WARNING)
		return "warning";
	if (level & G_LOG_LEVEL_MESSAGE)
		return "notice";
	return level & G_LOG_LEVEL_INFO ? "info" : "debug";
}

static char *format_line(GLogLevelFlags level, const char *message)
{
	struct timespec now;
	struct tm tm;
	char stamp[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	g_autofree char *text = g_strchomp(g_strdup(message));
	g_autofree char *clean = human_name(text);
	log_redact(clean);
	return g_strdup_printf("%s.%03uZ %s: %s\n", stamp, (unsigned)(now.tv_nsec / 1000000),
	                       level_name(level), clean);
}

static void write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);
		if (n <= 0)
			return; /* a full disk must not stop what is being logged about */
		text += n;
		length -= (size_t)n;
	}
}

static bool store_is_there(void)
{
	if (!writer.store)
		return true;
	g_autofree char *tree = g_build_filename(writer.store, "tree", NULL);
	g_autofree char *state = g_build_filename(writer.store, "state", NULL);
	return access(tree, F_OK) == 0 && access(state, F_OK) == 0;
}

static void stderr_take_locked(void)
{
	if (!writer.take_stderr)
		return;
	dup2(writer.fd, STDOUT_FILENO);
	dup2(writer.fd, STDERR_FILENO);
}

static int file_open(void)
{
	int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY;
	return open(writer.file, writer.store ? flags | O_NOFOLLOW : flags, 0600);
}

/* What is full becomes FILE.1, of which there is one; a device or a pipe is never full. */
static void rotate_locked(void)
{
	struct stat st, named;
	if (fstat(writer.fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < FILE_MAX)
		return;
	g_autofree char *old = g_strconcat(writer.file, ".1", NULL);
	bool ours = lstat(writer.file, &named) == 0 && named.st_dev == st.st_dev &&
	            named.st_ino == st.st_ino;
	if (ours && rename(writer.file, old) != 0 && ftruncate(writer.fd, 0) != 0)
		return;
	int fd = file_open();
	if (fd < 0)
		return;
	close(writer.fd);
	writer.fd = fd;
	stderr_take_locked();
}

static void open_locked(void)
{
	if (writer.fd >= 0 || !writer.file || !store_is_there())
		return;
	writer.fd = file_open();
	if (writer.fd < 0)
		return;
	write_all(writer.fd, writer.pending->str, writer.pending->len);
	g_string_truncate(writer.pending, 0);
	stderr_take_locked();
}

static void write_locked(GLogLevelFlags level, const char *message)
{
	g_autofree char *line = format_line(level, message);
	size_t length = strlen(line);
	open_locked();
	if (writer.fd >= 0)
		rotate_locked();
	if (!writer.file)
		write_all(STDERR_FILENO, line, length);
	else if (writer.fd >= 0)
		write_all(writer.fd, line, length);
	else if (writer.pending->len + length <= PENDING_MAX)
		g_string_append_len(writer.pending, line, (gssize)length);
}

/* What is critical is not to be missed, and details come only where they were asked for. */
static void message_write(GLogLevelFlags level, const char *message)
{
	bool always = !(level & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE));
	g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
	pthread_mutex_lock(&writer.lock);
	bool pass = always || repeats_pass(writer.repeats, message, clock_now(), before);
	for (guint n = 0; n < before->len; n++)
		write_locked(G_LOG_LEVEL_MESSAGE, before->pdata[n]);
	if (pass)
		write_locked(level, message);
	pthread_mutex_unlock(&writer.lock);
}

void log_end(void)
{
	g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
	pthread_mutex_lock(&writer.lock);
	repeats_end(writer.repeats, before);
	for (guint n = 0; n < before->len; n++)
		write_locked(G_LOG_LEVEL_MESSAGE, before->pdata[n]);
	pthread_mutex_unlock(&writer.lock);
}

static bool dropped(GLogLevelFlags level, const char *domain)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING))
		return false;
	if ((level & G_LOG_LEVEL_MESSAGE) && writer.file)
		return false;
	if (level & G_LOG_LEVEL_MESSAGE) /* stderr: as talkative as for an info */
		level = G_LOG_LEVEL_INFO;
	return g_log_writer_default_would_drop(level, domain);
}

static GLogWriterOutput write_fields(GLogLevelFlags level, const GLogField *fields, gsize count,
                                     gpointer user)
{
	const char *message = NULL, *domain = NULL;
	for (gsize i = 0; i < count; i++) {
		if (strcmp(fields[i].key, "MESSAGE") == 0 && fields[i].length < 0)
			message = fields[i].value;
		else if (strcmp(fields[i].key, "GLIB_DOMAIN") == 0 && fields[i].length < 0)
			domain = fields[i].value;
	}
	if (!message || dropped(level, domain))
		return G_LOG_WRITER_HANDLED;
	message_write(level, message);
	return G_LOG_WRITER_HANDLED;
}

void log_start(const char *file, const char *store)
{
	writer.file = g_strdup(file);
	writer.store = g_strdup(store);
	writer.pending = g_string_new(NULL);
	writer.repeats = repeats_new();
	pthread_mutex_lock(&writer.lock);
	open_locked();
	pthread_mutex_unlock(&writer.lock);
	g_log_set_writer_func(write_fields, NULL, NULL);
}

void log_take_stderr(void)
{
	pthread_mutex_lock(&writer.lock);
	writer.take_stderr = true;
	if (writer.fd >= 0)
		stderr_take_locked();
	pthread_mutex_unlock(&writer.lock);
}
