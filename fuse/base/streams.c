/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/streams.h"
#include <fcntl.h>
#include <unistd.h>
#include "fetch/base/lock.h"

static struct {
	struct mutex lock;
	bool follow;
	int log;    /* borrowed; -1: not open yet */
	int before; /* owned: standard error, while it is lent; else -1 */
} streams = {.lock = MUTEX_INIT(RANK_STREAMS), .log = -1, .before = -1};

static void streams_set_locked(void) REQUIRES(streams.lock)
{
	if (!streams.follow || streams.log < 0)
		return;
	dup2(streams.log, STDOUT_FILENO);
	if (streams.before < 0)
		dup2(streams.log, STDERR_FILENO);
}

void streams_follow(void)
{
	mutex_lock(&streams.lock);
	streams.follow = true;
	streams_set_locked();
	mutex_unlock(&streams.lock);
}

void streams_log(int fd)
{
	mutex_lock(&streams.lock);
	streams.log = fd;
	streams_set_locked();
	mutex_unlock(&streams.lock);
}

bool streams_lend(int fd)
{
	mutex_lock(&streams.lock);
	streams.before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	bool lent = streams.before >= 0 && dup2(fd, STDERR_FILENO) >= 0;
	if (!lent && streams.before >= 0) {
		close(streams.before);
		streams.before = -1;
	}
	mutex_unlock(&streams.lock);
	return lent;
}

void streams_return(void)
{
	mutex_lock(&streams.lock);
	dup2(streams.before, STDERR_FILENO);
	close(streams.before);
	streams.before = -1;
	streams_set_locked();
	mutex_unlock(&streams.lock);
}
