/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/helper.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fetch/base/lock.h"
#include "fetch/base/path.h"
#include "fetch/base/pool.h"
#include "fuse/daemon/helper_private.h"

enum { PATIENCE_MS = 2000, UNMOUNT_MS = 10000, END_TRIES = 1000, END_PAUSE = 1000 /* µs */ };

static struct {
	struct mutex lock; /* across a question and its answer */
	int socket;        /* -1: there is no helper; fixed, as the next two */
	pid_t pid;
	struct helper_job job;
	uint64_t serial; /* under lock */
} helper = {.lock = MUTEX_INIT(RANK_HELPER), .socket = -1};

/* Makes the store's directory, for which the confined daemon needs a rule. */
static bool store_make(const char *path)
{
	return access(path, F_OK) < 0 && g_mkdir_with_parents(path, 0700) == 0;
}

int helper_start(const struct settings *s, bool read_only)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	g_autofree char *home = path_home();
	helper.job = (struct helper_job){
	        .settings = s,
	        .read_only = read_only,
	        .made = store_make(s->store),
	        .secrets = {s->source_options.token_file, s->source_options.query_file,
	                    g_build_filename(home, ".netrc", NULL)},
	};
	helper.pid = fork();
	if (helper.pid == 0) {
		close(pair[0]);
		helper_run(pair[1], &helper.job);
	}
	int err = helper.pid < 0 ? -errno : 0;
	close(pair[1]);
	if (err)
		close(pair[0]);
	else
		helper.socket = pair[0];
	return err;
}

void helper_stop(void)
{
	if (helper.socket < 0)
		return;
	close(helper.socket);
	helper.socket = -1;
	for (unsigned n = 0; n < END_TRIES && waitpid(helper.pid, NULL, WNOHANG) == 0; n++)
		usleep(END_PAUSE);
	g_free(helper.job.secrets[SECRET_NETRC]);
}

/* The answer to another question, which came too late, has another serial number. */
static int answer_take(struct helper_reply *reply, int *fd)
{
	union helper_control control;
	struct iovec data = {reply, sizeof(*reply)};
	struct msghdr m = {.msg_iov = &data,
	                   .msg_iovlen = 1,
	                   .msg_control = control.room,
	                   .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(helper.socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	*fd = -1;
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? -EINTR : -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if (n != sizeof(*reply))
		return -EPIPE;
	reply->text[sizeof(reply->text) - 1] = '\0';
	/* this process has no descriptor left for it */
	return (m.msg_flags & MSG_CTRUNC) ? -EMFILE : 0;
}

static int answer_wait_locked(struct helper_reply *reply, int *fd, int patience_ms)
        REQUIRES(helper.lock)
{
	const int64_t until = clock_now() + patience_ms * INT64_C(1000000);
	for (;;) {
		struct pollfd p = {.fd = helper.socket, .events = POLLIN};
		int64_t left = (until - clock_now()) / 1000000;
		if (patience_ms >= 0 && left < 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, patience_ms < 0 ? -1 : (int)left + 1) <= 0)
			continue;
		int err = answer_take(reply, fd);
		if (err == -EINTR || (err == 0 && reply->serial != helper.serial)) {
			if (*fd >= 0)
				close(*fd);
			continue;
		}
		return err;
	}
}

/* `patience_ms` < 0: without an end. 0: answered; -errno: there is no answer. */
static int ask(struct helper_request request, struct helper_reply *reply, int *fd, int patience_ms)
{
	*fd = -1;
	if (helper.socket < 0)
		return -EPIPE;
	mutex_lock(&helper.lock);
	request.serial = ++helper.serial;
	ssize_t n = send(helper.socket, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT);
	int err = n < 0 ? -errno : answer_wait_locked(reply, fd, patience_ms);
	mutex_unlock(&helper.lock);
	if (err && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	return err;
}

int helper_mount(dev_t *device, GError **error)
{
	struct helper_reply reply;
	int fd;
	int err = ask((struct helper_request){.kind = HELPER_MOUNT}, &reply, &fd, -1);
	if (err == 0 && reply.error == 0) {
		if (reply.text[0])
			g_message("while mounting: %s", reply.text);
		*device = (dev_t)reply.device;
		return fd;
	}
	if (err)
		g_set_error(error, LOCAL_ERROR, -err, "the process that mounts has ended: %s",
		            g_strerror(-err));
	else
		g_set_error_literal(error, LOCAL_ERROR, -reply.error, reply.text);
	return -1;
}

void helper_unmount(dev_t device, bool gone)
{
	struct helper_reply reply;
	int fd;
	const struct helper_request request = {.kind = HELPER_UNMOUNT, .what = gone, .dev = device};
	int err = ask(request, &reply, &fd, UNMOUNT_MS);
	const char *point = helper.job.settings->mountpoint;
	if (err && !gone)
		g_warning("%s may still be mounted: the process that unmounts has ended, or does "
		          "not answer: %s",
		          point, g_strerror(-err));
	else if (err == 0 && reply.error == -EBUSY)
		g_message("another file system is mounted at %s now: it is left mounted", point);
	else if (err == 0 && reply.error)
		g_warning("%s: cannot be unmounted: %s", point,
		          reply.text[0] ? reply.text : g_strerror(-reply.error));
}

static int descriptor(struct helper_request request)
{
	struct helper_reply reply;
	int fd;
	int err = ask(request, &reply, &fd, PATIENCE_MS);
	return err ? err : reply.error ? reply.error : fd >= 0 ? fd : -EPIPE;
}

int helper_secret(const char *path)
{
	for (uint32_t n = 0; n < SECRETS; n++)
		if (g_strcmp0(helper.job.secrets[n], path) == 0)
			return descriptor(
			        (struct helper_request){.kind = HELPER_SECRET, .what = n});
	return -ENOENT;
}

int helper_log(const char *path, const struct stat *full)
{
	struct helper_request request = {.kind = HELPER_LOG};
	if (full) {
		request.what = 1;
		request.dev = full->st_dev;
		request.ino = full->st_ino;
	}
	return descriptor(request);
}

bool helper_caller(pid_t tid, const char *file, char *out, size_t size)
{
	struct helper_request request = {.kind = HELPER_CALLER, .tid = tid};
	struct helper_reply reply;
	int fd;
	while (request.what < CALLER_FILES && strcmp(helper_files[request.what], file) != 0)
		request.what++;
	if (ask(request, &reply, &fd, PATIENCE_MS) != 0 || reply.error)
		return false;
	g_strlcpy(out, reply.text, size);
	return true;
}
