/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/log.h"
#include <glib.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "fetch/base/lock.h"
#include "fetch/base/pool.h"
#include "fuse/base/human.h"
#include "fuse/base/logfile.h"
#include "fuse/base/logqueue.h"
#include "fuse/base/repeats.h"
#include "fuse/base/streams.h"

enum { FLUSH_MS = 2000 };

static struct {
	enum { TO_STDERR, TO_FILE, TO_JOURNAL, TO_SYSLOG } to; /* TO_JOURNAL: as stderr */
	struct mutex lock;
	struct repeats *repeats; /* under lock */
	struct logqueue *queue;
	struct logfile *file; /* the queue's thread's, as the next */
	uint64_t unreported;  /* lost lines that the log does not mention yet */
	uint64_t lost;        /* atomic: all of them */
} writer = {.lock = MUTEX_INIT(RANK_LOG)};

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

static int priority_of(GLogLevelFlags level)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
		return LOG_CRIT;
	if (level & G_LOG_LEVEL_WARNING)
		return LOG_WARNING;
	if (level & G_LOG_LEVEL_MESSAGE)
		return LOG_NOTICE;
	return level & G_LOG_LEVEL_INFO ? LOG_INFO : LOG_DEBUG;
}

/* The journal and syslog have a time of their own, and take the level as a number: sd-daemon(3). */
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
	if (writer.to == TO_JOURNAL || writer.to == TO_SYSLOG)
		return g_strdup_printf("<%d>%s\n", priority_of(level), clean);
	return g_strdup_printf("%s.%03uZ %s: %s\n", stamp, (unsigned)(now.tv_nsec / 1000000),
	                       level_name(level), clean);
}

/* Lines of the form "<N>text". */
static void syslog_write(const char *text, size_t length)
{
	for (const char *end; (end = memchr(text, '\n', length)); text = end + 1) {
		length -= (size_t)(end + 1 - text);
		syslog(text[1] - '0', "%.*s", (int)(end - text - 3), text + 3);
	}
}

static uint64_t text_write(const char *text, size_t length)
{
	if (writer.to != TO_SYSLOG)
		return logfile_write(writer.file, text, length);
	syslog_write(text, length);
	return 0;
}

/* On the queue's thread. */
static void lines_write(void *user, const char *text, size_t length, uint64_t lost)
{
	lost += text_write(text, length);
	__atomic_add_fetch(&writer.lost, lost, __ATOMIC_RELAXED);
	writer.unreported += lost;
	if (!writer.unreported)
		return;
	g_autofree char *note = g_strdup_printf(
	        "%" G_GUINT64_FORMAT
	        " messages were lost: the log could not be written, or not as fast as they came",
	        writer.unreported);
	g_autofree char *line = format_line(G_LOG_LEVEL_WARNING, note);
	if (text_write(line, strlen(line)) == 0)
		writer.unreported = 0;
}

static void line_add(GLogLevelFlags level, const char *message)
{
	g_autofree char *line = format_line(level, message);
	logqueue_add(writer.queue, line, strlen(line));
}

static void lines_add(const GPtrArray *messages)
{
	for (guint n = 0; n < messages->len; n++)
		line_add(G_LOG_LEVEL_MESSAGE, messages->pdata[n]);
}

/* Critical messages must not be missed, and details appear only on request. */
static void message_write(GLogLevelFlags level, const char *message)
{
	bool always = !(level & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE));
	g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
	mutex_lock(&writer.lock);
	bool pass = always || repeats_pass(writer.repeats, message, clock_now(), before);
	lines_add(before);
	if (pass)
		line_add(level, message);
	mutex_unlock(&writer.lock);
}

bool log_flush(void)
{
	return logqueue_flush(writer.queue, FLUSH_MS);
}

void log_end(void)
{
	g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
	mutex_lock(&writer.lock);
	repeats_end(writer.repeats, before);
	lines_add(before);
	mutex_unlock(&writer.lock);
	log_flush();
}

void log_state(uint64_t *waiting, uint64_t *lost)
{
	*waiting = writer.queue ? logqueue_waiting(writer.queue) : 0;
	*lost = __atomic_load_n(&writer.lost, __ATOMIC_RELAXED);
}

/* abort(), a failed assertion or a fault: the lines before it tell the cause. */
static void crashed(int signal_number)
{
	log_flush();
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* A sanitizer's handlers stay; their output goes to standard error. */
static void crashes_catch(void)
{
	static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	const struct sigaction action = {.sa_handler = crashed, .sa_flags = (int)SA_RESETHAND};
	struct sigaction before;
	for (unsigned n = 0; n < G_N_ELEMENTS(numbers); n++)
		if (sigaction(numbers[n], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			sigaction(numbers[n], &action, NULL);
}

static bool dropped(GLogLevelFlags level, const char *domain)
{
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING))
		return false;
	if ((level & G_LOG_LEVEL_MESSAGE) && writer.to != TO_STDERR)
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

bool log_is_syslog(const char *file)
{
	return g_strcmp0(file, LOG_SYSLOG_NAME) == 0;
}

/* systemd says which stream is its journal: JOURNAL_STREAM=DEVICE:INODE. */
static bool is_journal(int fd)
{
	const char *said = g_getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	return said && sscanf(said, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

static void syslog_start(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC); /* stays: the streams borrow it */
	openlog("lacunafs", LOG_PID, LOG_DAEMON);
	if (null >= 0)
		streams_log(null);
}

void log_start(const char *file, const char *store)
{
	writer.to = log_is_syslog(file)         ? TO_SYSLOG
	            : file                      ? TO_FILE
	            : is_journal(STDERR_FILENO) ? TO_JOURNAL
	                                        : TO_STDERR;
	if (writer.to == TO_SYSLOG)
		syslog_start();
	else
		writer.file = logfile_new(file, store);
	writer.repeats = repeats_new();
	writer.queue = logqueue_new(lines_write, NULL);
	crashes_catch();
	g_log_set_writer_func(write_fields, NULL, NULL);
}
