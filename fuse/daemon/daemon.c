/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fuse/daemon/daemon.h"
#include "fuse/base/area.h"
#include "fuse/base/exit_status.h"
#include "fuse/base/caller.h"
#include "fuse/base/log.h"
#include "fuse/base/logfile.h"
#include "fuse/base/mounts.h"
#include "fuse/base/streams.h"
#include "fuse/base/unmount.h"
#include "fuse/daemon/confine.h"
#include "fuse/daemon/helper.h"
#include "fuse/daemon/mounting.h"
#include "fuse/daemon/serve.h"
#include "fuse/keeper/fdstore.h"
#include "fuse/keeper/handover.h"
#include "fuse/keeper/keeper.h"

#define KEEPER_NAME "lacunafs-keeper" /* of 15 bytes at most */
#define WORKER_NAME "lacunafs"

static bool fail(GError **error, const char *what)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", what, g_strerror(code));
	return false;
}

/* What the keeper and each worker know. */
struct daemon {
	const struct settings *settings;
	char *log;       /* owned; NULL: stderr */
	int ready_fd;    /* the first worker's, as the next: -1: none */
	int cause_fd;    /* to the parent */
	long keeper_kib; /* the most memory that the keeper had before the first worker */
};

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* In the keeper: the end of both descriptors is the first worker's. */
static void worker_started(void *user)
{
	struct daemon *d = user;
	if (d->settings->foreground)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDERR_FILENO);
	close(null);
	fd_close(&d->ready_fd);
	fd_close(&d->cause_fd);
}

/* Its server, confined. */
static int worker_serve(const struct daemon *d, const struct keeping *k, GError **error)
{
	const struct settings *s = d->settings;
	struct confinement confinement;
	struct server_start start = {.confinement = &confinement,
	                             .exec_writes = exec_writes_policy(s->exec_writes)};
	int err = helper_start(s, mounting_asks(s, "ro", "rw", false));
	if (err) {
		g_set_error(error, LOCAL_ERROR, -err, "cannot start the process that mounts: %s",
		            g_strerror(-err));
		return 1;
	}
	confine_worker(s, &confinement);
	caller_delegate(helper_caller);
	if (s->log && !log_is_syslog(s->log))
		logfile_delegate(helper_log);
	log_start(d->log, s->log || s->foreground ? NULL : s->store);
	if (s->keeper && !k->area->kept)
		g_message(
		        "if the daemon dies, the mount is dead: a keeper needs more address space "
		        "(ulimit -v)");
	if (!s->foreground)
		streams_follow();
	int status = server_run(s, &start, k, k->resumes ? -1 : d->ready_fd, error);
	if (status && (!s->foreground || k->resumes))
		g_warning("%s", (*error)->message);
	log_end();
	helper_stop();
	confinement_clear(&confinement);
	return status;
}

/* The most that this process had so far. */
static long memory_kib(void)
{
	struct rusage used = {0};
	getrusage(RUSAGE_SELF, &used);
	return used.ru_maxrss;
}

/* Where memory is short, the kernel ends the worker, not the keeper: its score exceeds that of the
 * keeper by the memory that the keeper has at most, in thousandths of the machine's. */
static void worker_offer(long keeper_kib)
{
	struct sysinfo machine;
	int score;
	FILE *f = fopen("/proc/self/oom_score_adj", "r+e");
	if (f && sysinfo(&machine) == 0 && fscanf(f, "%d", &score) == 1) {
		uint64_t all_kib = (uint64_t)machine.totalram * machine.mem_unit / 1024;
		int more = (int)((uint64_t)keeper_kib * 1000 / MAX(all_kib, 1)) + 1;
		rewind(f);
		fprintf(f, "%d", MIN(score + more, 1000));
	}
	if (f)
		fclose(f);
}

static int worker_run(const struct keeping *k, void *user)
{
	const struct daemon *d = user;
	g_autoptr(GError) error = NULL;
	int status = 1;
	if (d->settings->keeper) {
		prctl(PR_SET_NAME, WORKER_NAME);
		worker_offer(d->keeper_kib);
	}
	int err = keeping_claim(k);
	if (!err)
		status = worker_serve(d, k, &error);
	else
		g_set_error(&error, LOCAL_ERROR, -err, "cannot be the mount's only worker: %s",
		            err == -EBUSY ? "the one before does not end" : g_strerror(-err));
	if (status && d->cause_fd >= 0)
		dprintf(d->cause_fd, "\nlacunafs: %s\n", error->message);
	if (d->cause_fd >= 0)
		close(d->cause_fd);
	return g_error_matches(error, FETCH_ERROR, FETCH_USAGE) ? EXIT_USAGE : status;
}

static struct keeper_job job_of(struct daemon *d)
{
	return (struct keeper_job){.work = worker_run,
	                           .started = worker_started,
	                           .user = d,
	                           .point = d->settings->mountpoint,
	                           .log = d->log,
	                           .words = d->settings->words->str,
	                           .words_size = d->settings->words->len,
	                           .detaches = !d->settings->foreground};
}

static int mount_run(struct daemon *d)
{
	const struct keeper_job job = job_of(d);
	if (!d->settings->keeper)
		return keeper_without(&job);
	prctl(PR_SET_NAME, KEEPER_NAME);
	d->keeper_kib = memory_kib();
	return keeper_run(&job);
}

static char *background_log(const struct settings *s)
{
	return s->log ? g_strdup(s->log) : g_build_filename(s->store, "state", "log", NULL);
}

/* stderr is the way to the parent until the log is open; all output to it before the mount answers
 * (of fusermount3, a sanitizer) is part of the cause. */
static int child_run(const struct settings *s, int ready_fd, int cause_fd)
{
	struct daemon d = {
	        .settings = s,
	        .log = background_log(s),
	        .ready_fd = ready_fd,
	        .cause_fd = fcntl(cause_fd, F_DUPFD_CLOEXEC, 3),
	};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (chdir("/") != 0)
		_exit(1);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(cause_fd, STDERR_FILENO);
	close(cause_fd);
	close(null);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* the log may be as long as the limit */
	int status = mount_run(&d);
	g_free(d.log);
	return status;
}

/* A signal handler can reach nothing but a symbol of this kind. */
static volatile sig_atomic_t child_pid;

static void forward(int signal_number)
{
	if (child_pid > 0)
		kill((pid_t)child_pid, SIGTERM);
}

static char *read_to_end(int fd)
{
	GString *text = g_string_new(NULL);
	char buffer[4096];
	ssize_t n;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && text->len < 65536)
			g_string_append_len(text, buffer, n);
	return g_string_free(text, FALSE);
}

/* The last line that the child marked as its cause; else all its output, and how it ended. */
static void cause_set(const char *said, int status, GError **error)
{
	bool usage = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE;
	const char *marked = g_strrstr(said, "\nlacunafs: ");
	if (marked) {
		g_autofree char *line = g_strchomp(g_strdup(marked + strlen("\nlacunafs: ")));
		g_set_error_literal(error, usage ? FETCH_ERROR : LOCAL_ERROR,
		                    usage ? (int)FETCH_USAGE : EIO, line);
		return;
	}
	g_autofree char *text = g_strstrip(g_strdup(said));
	g_autofree char *end =
	        WIFSIGNALED(status) ? g_strdup_printf("was ended by signal %d (%s)",
	                                              WTERMSIG(status), strsignal(WTERMSIG(status)))
	                            : g_strdup_printf("ended with status %d", WEXITSTATUS(status));
	g_set_error(error, LOCAL_ERROR, EIO, "the daemon %s%s%s", end, *text ? ": " : "", text);
}

bool daemon_foreground(const struct settings *s, GError **error)
{
	if (s->ready_fd != -1 && fcntl(s->ready_fd, F_GETFD) < 0) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE,
		            "--ready-fd: %d is not an open descriptor", s->ready_fd);
		return false;
	}
	signal(SIGXFSZ, SIG_IGN);
	int cause = memfd_create("cause", MFD_CLOEXEC);
	struct daemon d = {.settings = s, .ready_fd = s->ready_fd, .cause_fd = cause};
	int status = mount_run(&d);
	if (status) {
		lseek(cause, 0, SEEK_SET);
		g_autofree char *said = read_to_end(cause);
		cause_set(said, status << 8, error); /* as of waitpid(2) */
	}
	close(cause);
	return status == 0;
}

/* The worker of this program, beside that of the one before, which it waits for. What it says until
 * then is for the client who asked for the upgrade. */
static int standby_run(struct daemon *d, const struct handover *h, struct area *area)
{
	struct keeping k = {.area = area,
	                    .area_fd = h->area,
	                    .socket = h->socket,
	                    .keeper = getppid(),
	                    .guard = -1,
	                    .resumes = true,
	                    .asked = true};
	memset(k.fds, -1, sizeof(k.fds));
	/* The exec of a program with capabilities took it away. Being told to go on shows that the
	 * keeper lived after this. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!keeping_stand_by(&k) || getppid() != k.keeper)
		return 1;
	dup2(h->errors, STDERR_FILENO);
	close(h->errors);
	d->cause_fd = h->output;
	return worker_run(&k, d);
}

int daemon_resume(const struct settings *s, const struct handover *h, GError **error)
{
	const char *why;
	struct area *area = area_map(h->area, &why);
	if (!area) {
		g_set_error_literal(error, LOCAL_ERROR, EPROTO, why);
		return 1;
	}
	prctl(PR_SET_NAME, h->role == HANDOVER_KEEPER ? KEEPER_NAME : WORKER_NAME);
	struct daemon d = {.settings = s,
	                   .keeper_kib = memory_kib(),
	                   .log = s->foreground ? NULL : background_log(s),
	                   .ready_fd = -1,
	                   .cause_fd = -1};
	const struct keeper_job job = job_of(&d);
	int status = h->role == HANDOVER_KEEPER ? keeper_resume(&job, h, area)
	                                        : standby_run(&d, h, area);
	g_free(d.log);
	return status;
}

/* What cannot be resumed: the mount is dead. */
static void stored_drop(const struct settings *s, struct fdstore_kept *kept, const char *why)
{
	g_autofree char *note = NULL;
	g_autoptr(GPtrArray) mounts = mounts_read(NULL);
	const struct mount *m = mounts ? mounts_at(mounts, s->mountpoint) : NULL;
	fprintf(stderr, "lacunafs: %s: cannot be resumed, and is mounted anew: %s\n", s->mountpoint,
	        why);
	fdstore_drop(kept);
	if (m && mount_is_ours(m) && unmount(s->mountpoint, true, &note))
		fprintf(stderr, "lacunafs: %s: %s\n", s->mountpoint, note ? note : "is mounted");
}

bool daemon_revive(const struct settings *s, int *status)
{
	struct fdstore_kept kept;
	const char *why = "it was not served yet, or has ended";
	fdstore_take(&kept);
	if (kept.area < 0 && kept.fds[KEPT_DEVICE] < 0)
		return false;
	struct area *area = s->keeper && s->foreground ? area_map(kept.area, &why) : NULL;
	bool usable =
	        area && area_check(area) && kept.fds[KEPT_DEVICE] >= 0 && kept.fds[KEPT_LOCK] >= 0;
	if (!usable) {
		stored_drop(s, &kept, why);
		return false;
	}
	struct daemon d = {.settings = s, .ready_fd = -1, .cause_fd = -1};
	const struct keeper_job job = job_of(&d);
	prctl(PR_SET_NAME, KEEPER_NAME);
	d.keeper_kib = memory_kib();
	*status = keeper_revive(&job, &kept, area);
	return true;
}

static bool parent_wait(pid_t child, int ready_fd, int cause_fd, GError **error)
{
	const struct sigaction action = {.sa_handler = forward};
	struct sigaction int_before, term_before;
	char byte;
	ssize_t n;
	child_pid = child;
	sigaction(SIGINT, &action, &int_before);
	sigaction(SIGTERM, &action, &term_before);
	while ((n = read(ready_fd, &byte, 1)) < 0 && errno == EINTR)
		;
	int status = 0;
	if (n <= 0) {
		g_autofree char *said = read_to_end(cause_fd);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		cause_set(said, status, error);
	}
	child_pid = 0;
	sigaction(SIGINT, &int_before, NULL);
	sigaction(SIGTERM, &term_before, NULL);
	return n > 0;
}

bool daemon_background(const struct settings *s, GError **error)
{
	int ready[2], cause[2];
	/* a process that waits for the end of an inherited pipe must not wait for the mount's */
	close_range(3, ~0U, 0);
	if (pipe2(ready, O_CLOEXEC) != 0)
		return fail(error, "pipe");
	if (pipe2(cause, O_CLOEXEC) != 0) {
		fail(error, "pipe");
		close(ready[0]);
		close(ready[1]);
		return false;
	}
	pid_t child = fork();
	if (child == 0) {
		close(ready[0]);
		close(cause[0]);
		exit(child_run(s, ready[1], cause[1]));
	}
	if (child < 0)
		fail(error, "fork");
	close(ready[1]);
	close(cause[1]);
	bool ok = child > 0 && parent_wait(child, ready[0], cause[0], error);
	close(ready[0]);
	close(cause[0]);
	return ok;
}
