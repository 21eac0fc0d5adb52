/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/daemon/serve.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fetch/store/opening.h"
#include "fuse/base/area.h"
#include "fuse/base/log.h"
#include "fuse/control/control.h"
#include "fuse/control/endpoint.h"
#include "fuse/daemon/confine.h"
#include "fuse/daemon/deadman.h"
#include "fuse/daemon/engine.h"
#include "fuse/daemon/mounting.h"
#include "fuse/daemon/rlimits.h"
#include "fuse/daemon/root.h"
#include "fuse/events/registry.h"
#include "fuse/inode/backing.h"
#include "fuse/inode/doubt.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/notify.h"
#include "fuse/inode/shortage.h"
#include "fuse/inode/strikes.h"
#include "fuse/inode/takeover.h"
#include "fuse/keeper/guard.h"
#include "fuse/keeper/keeping.h"
#include "fuse/evict/evictor.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/session.h"
#include "fuse/ops/vigil.h"

/* Another worker takes over: no request is left half done, if it can be helped; what waits is sent
 * again. Nothing else is worth an end in order: the area is as after a death. */
static _Noreturn void yield_to_next(struct server *s)
{
	g_message("another program takes over");
	session_stop(s->loop);
	log_end();
	for (;;) /* not _exit(3): a sanitizer would look for what is left, and all is left */
		syscall(SYS_exit_group, 0);
}

/* Until the unmount or a signal. */
static void serve(struct server *s, int signals)
{
	struct pollfd fds[] = {
	        {.fd = signals, .events = POLLIN},
	        {.fd = session_ended_fd(s->loop), .events = POLLIN},
	};
	struct signalfd_siginfo info = {0};
	while (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno == EINTR)
		;
	if (fds[0].revents && read(signals, &info, sizeof(info)) == sizeof(info) &&
	    info.ssi_signo == KEEPING_YIELD && !fds[1].revents)
		yield_to_next(s);
	if (fds[0].revents)
		g_message("stopping: caught a signal");
}

/* The notifier may wait in the kernel for a look-up that waits for this daemon: meanwhile look-ups
 * are answered. Replies go to the device by its number: before that is closed, and given to the
 * next file opened, no thread may be left to reply. */
static void mounted_end(struct server *s)
{
	engine_cut(s);
	notifier_stop(s->notifier);
	session_stop(s->loop);
	engine_settle(s);
	vigil_free(s->vigil);
	if (s->backing)
		backing_free(g_steal_pointer(&s->backing));
	mounting_end(s);
}

/* The next worker needs them, if this one dies from here on. */
static void handed_over(struct server *s)
{
	if (s->resumed)
		return;
	keeping_hand(s->keeping, KEPT_DEVICE, fuse_session_fd(s->session));
	keeping_hand(s->keeping, KEPT_SECOND, s->second_fd);
	keeping_hand(s->keeping, KEPT_LOCK, store_lock_fd(s->store));
}

static struct control *control_start(struct server *s, const struct stat *root, GError **error)
{
	dev_t device = s->device ? s->device : root->st_dev;
	return control_new(s, major(device), minor(device), s->keeping->fds[KEPT_LISTENER], error);
}

static bool mounted_run(struct server *s, int ready_fd, int signals, GError **error)
{
	handed_over(s);
	s->notifier = notifier_new(s->session, s->area, s->arena, s->second_fd, s->resumed);
	s->evictor = evictor_new(s);
	s->vigil = vigil_new(s->clock, parked_end_dying, parked_unref);
	if (s->resumed)
		keeping_serve(s->keeping); /* a death from here on is that of a request */
	session_start(s);
	if (s->resumed) {
		notifier_begin(s->notifier);
		doubts_begin(s->doubts);
	}
	struct stat st;
	if (!session_wait_connected(s->loop))
		g_set_error(error, LOCAL_ERROR, ENOTCONN, "the kernel did not accept the mount");
	else if (!s->resumed && stat(s->settings->mountpoint, &st) < 0)
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", s->settings->mountpoint,
		            g_strerror(errno));
	else
		s->control = control_start(s, &st, error);
	if (s->control && s->settings->metrics)
		s->endpoint = endpoint_new(s, s->settings->metrics, error);
	bool ok = s->control && (s->endpoint || !s->settings->metrics);
	s->served |= ok;
	if (ok) {
		s->area->device = s->device ? s->device : st.st_dev;
		s->area->started_ns = s->started_ns;
		keeping_hand(s->keeping, KEPT_LISTENER, control_listener(s->control));
		if (!s->resumed)
			keeping_serve(s->keeping);
		if (s->resumed) {
			takeover_tell(s, s->keeping->asked);
			keeping_settled(s->keeping);
		} else {
			g_message("mounted %s at %s", s->settings->source, s->settings->mountpoint);
		}
		/* Not before: while autofs mounts, it lets only the process group of the mounting
		 * past the mountpoint; all others wait for the mount that they would make. From
		 * here on the daemon does not use the mountpoint's path. */
		if (!s->settings->foreground && !s->resumed)
			setsid();
		if (ready_fd >= 0 && write(ready_fd, "", 1) < 0)
			g_debug("the ready descriptor has no reader");
		serve(s, signals);
	}
	store_leave(s->store);
	s->deadman = deadman_arm(s); /* a client may wait for the source */
	/* before it is waited for: its clients may wait for the source */
	fill_stop(s->fill);
	lister_stop(s->lister);
	source_stop(s->source);
	registry_hurry(s->handlers);
	shortage_stop(s->shortage);
	g_clear_pointer(&s->endpoint, endpoint_free);
	g_clear_pointer(&s->control, control_free);
	g_clear_pointer(&s->evictor, evictor_free); /* which the control socket reports on */
	mounted_end(s);
	return ok;
}

int server_run(const struct settings *settings, const struct server_start *start,
               const struct keeping *keeping, int ready_fd, GError **error)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (keeping->socket >= 0)
		sigaddset(&set, KEEPING_YIELD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* a process opened a file that the daemon has a lease on */
	rlimits_raise();
	int signals = signalfd(-1, &set, SFD_CLOEXEC);

	struct server s = {
	        .settings = settings,
	        .keeping = keeping,
	        .area = keeping->area,
	        .resumed = keeping->resumes,
	        .read_only = mounting_asks(settings, "ro", "rw", false),
	        .noatime = mounting_asks(settings, "noatime", "atime", false),
	        .started_ns = keeping->resumes ? keeping->area->started_ns : clock_realtime(),
	        .uid = getuid(),
	        .gid = getgid(),
	        .exec_writes = start->exec_writes,
	        .confinement = start->confinement,
	};
	g_autofree char *lacks = confinement_lacks(s.confinement);
	if (lacks)
		g_message("the daemon is not confined in its %s", lacks);
	strikes_start(s.area);
	bool ok = engine_start(&s, signals, error);
	if (ok && !s.read_only)
		store_reserve(s.store);
	struct inode *root = NULL;
	if (ok && s.resumed) {
		s.xattrs = true; /* or the kernel does not ask: root_describe() of the first */
		registry_restore(s.handlers);
		ok = takeover_begin(&s, error);
		root = ok ? inode_get(s.inodes, FUSE_ROOT_ID) : NULL;
		ok = ok && mounting_prepare(&s, error) && mounting_resume(&s, error);
	} else if (ok) {
		root = root_new(&s);
		ok = root_list(&s, root, signals, ready_fd, error) && mounting_prepare(&s, error) &&
		     mounting_do(&s, error);
	}
	struct guard guard = {.device = keeping->guard};
	if (keeping->guard >= 0)
		guard_connect(&guard, ok ? fuse_session_fd(s.session) : -1);
	if (ok)
		ok = mounted_run(&s, ready_fd, signals, error);
	if (root)
		inode_put(&s, root);
	engine_stop(&s);
	if (s.session)
		fuse_session_destroy(s.session);
	close(signals);
	return ok ? 0 : 1;
}
