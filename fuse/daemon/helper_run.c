/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/caller.h"
#include "fuse/base/log.h"
#include "fuse/base/logfile.h"
#include "fuse/daemon/helper_private.h"
#include "fuse/daemon/mounter.h"

const char *const helper_files[CALLER_FILES] = {"syscall", "status", "comm"};

struct helper {
	int socket;
	const struct helper_job *job;
	struct server mounted;    /* settings and session */
	int directories[SECRETS]; /* of the secret files; -1: none */
};

/* A file that is replaced by another is read anew: only its directory stays open. */
static void secrets_find(struct helper *h)
{
	for (unsigned n = 0; n < SECRETS; n++) {
		const char *path = h->job->secrets[n];
		g_autofree char *directory = path ? g_path_get_dirname(path) : NULL;
		h->directories[n] = path ? open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	}
}

/* A FIFO without a writer does not block. */
static int secret_open(const struct helper *h, uint32_t what)
{
	if (what >= SECRETS || h->directories[what] < 0)
		return -ENOENT;
	g_autofree char *name = g_path_get_basename(h->job->secrets[what]);
	int fd = openat(h->directories[what], name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int log_open(const struct helper *h, const struct helper_request *request)
{
	const struct stat full = {.st_dev = request->dev, .st_ino = request->ino};
	if (!h->job->settings->log || log_is_syslog(h->job->settings->log))
		return -ENOENT;
	int fd = logfile_next(h->job->settings->log, request->what ? &full : NULL);
	return fd < 0 ? -EACCES : fd;
}

static int caller_read(const struct helper_request *request, struct helper_reply *reply)
{
	if (request->what >= CALLER_FILES)
		return -EINVAL;
	bool read = caller_line(request->tid, helper_files[request->what], reply->text,
	                        sizeof(reply->text));
	return read ? 0 : -ESRCH;
}

static int mount_now(struct helper *h, struct helper_reply *reply)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *note = NULL;
	if (h->mounted.session)
		return -EALREADY;
	int fd = mounter_mount(&h->mounted, &note, &error);
	g_strlcpy(reply->text, fd < 0 ? error->message : note ? note : "", sizeof(reply->text));
	reply->device = h->mounted.device;
	return fd < 0 ? -(error->domain == LOCAL_ERROR ? error->code : EIO) : fd;
}

static int unmount_now(struct helper *h, const struct helper_request *request,
                       struct helper_reply *reply)
{
	g_autofree char *note = NULL;
	h->mounted.device = request->dev;
	int err = mounter_unmount(&h->mounted, request->what, &note);
	g_strlcpy(reply->text, note ? note : "", sizeof(reply->text));
	return -err;
}

/* A descriptor of 0 is none of ours: the standard streams are open. */
static int answer(struct helper *h, const struct helper_request *request,
                  struct helper_reply *reply)
{
	switch (request->kind) {
	case HELPER_MOUNT:
		return mount_now(h, reply);
	case HELPER_UNMOUNT:
		return unmount_now(h, request, reply);
	case HELPER_SECRET:
		return secret_open(h, request->what);
	case HELPER_LOG:
		return log_open(h, request);
	case HELPER_CALLER:
		return caller_read(request, reply);
	default:
		return -EINVAL;
	}
}

/* Closes `fd`: while this process had /dev/fuse, the connection would outlive the daemon. */
static bool reply_send(struct helper *h, struct helper_reply *reply, int fd)
{
	union helper_control control = {0};
	struct iovec data = {reply, sizeof(*reply)};
	struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
	if (fd > 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		control.header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	bool sent = sendmsg(h->socket, &m, MSG_NOSIGNAL) == sizeof(*reply);
	if (fd > 0)
		close(fd);
	return sent;
}

static bool serve_one(struct helper *h)
{
	struct helper_request request;
	static struct helper_reply reply;
	ssize_t n = recv(h->socket, &request, sizeof(request), 0);
	if (n < 0 && errno == EINTR)
		return true;
	if (n != sizeof(request))
		return false;
	memset(&reply, 0, sizeof(reply));
	reply.serial = request.serial;
	int result = answer(h, &request, &reply);
	reply.error = MIN(result, 0);
	return reply_send(h, &reply, result);
}

/* All but the socket and the standard streams. */
static void descriptors_close(int socket)
{
	if (socket > 3)
		close_range(3, (unsigned)socket - 1, 0);
	close_range((unsigned)socket + 1, ~0U, 0);
}

void helper_run(int socket, const struct helper_job *job)
{
	struct helper h = {
	        .socket = socket,
	        .job = job,
	        .mounted = {.settings = job->settings, .read_only = job->read_only},
	};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "lacunafs-helper");
	descriptors_close(socket);
	if (chdir("/") < 0)
		_exit(1);
	secrets_find(&h);
	caller_begin();
	while (serve_one(&h))
		;
	if (job->made)
		rmdir(job->settings->store);
	_exit(0);
}
