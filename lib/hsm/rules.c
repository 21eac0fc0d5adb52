/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "lib/hsm/rules.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "lib/hsm/abi.h"

#define KERNEL_O_LARGEFILE 0100000 /* 0 in the headers where it makes no difference */

int rules_init(unsigned flags, unsigned event_flags)
{
	unsigned known = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_CLOEXEC |
	                 O_LARGEFILE | KERNEL_O_LARGEFILE | O_NOATIME;
	if (flags & ~HSM_INIT_FLAGS)
		return -EINVAL;
	if ((flags & FAN_REPORT_PIDFD) && (flags & FAN_REPORT_TID))
		return -EINVAL;
	if (flags & (HSM_REPORT_MNT | HSM_FID_BITS))
		return -EINVAL;
	if (event_flags & ~known || (event_flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return 0;
}

int rules_mark(unsigned flags, uint64_t *mask, unsigned init_flags)
{
	unsigned type = flags & HSM_MARK_TYPE_BITS, command = flags & HSM_MARK_COMMAND_BITS;
	unsigned ignore = flags & HSM_MARK_IGNORE_BITS;
	(void)init_flags;
	if (*mask >> 32 || flags & ~HSM_MARK_FLAGS)
		return -EINVAL;
	if (command == FAN_MARK_FLUSH) {
		if (flags & ~(HSM_MARK_TYPE_BITS | FAN_MARK_FLUSH))
			return -EINVAL;
	} else if ((command != FAN_MARK_ADD && command != FAN_MARK_REMOVE) || *mask == 0) {
		return -EINVAL;
	}
	if (*mask & ~(uint64_t)HSM_MARK_MASK || ignore == HSM_MARK_IGNORE_BITS)
		return -EINVAL;
	if (ignore == FAN_MARK_IGNORED_MASK)
		*mask &= ~(uint64_t)HSM_EVENT_FLAGS;
	if (*mask & HSM_MNT_EVENTS || type == HSM_MARK_MNTNS)
		return -EINVAL;
	if (flags & HSM_MARK_EVICTABLE && type != FAN_MARK_INODE)
		return -EINVAL;
	if (*mask & ~(uint64_t)(HSM_FD_EVENTS | HSM_EVENT_FLAGS)) /* those need FAN_REPORT_FID */
		return -EINVAL;
	if (*mask & HSM_PRE_ACCESS && *mask & FAN_ONDIR)
		return -EINVAL;
	return 0;
}

int rules_object(unsigned flags, uint64_t mask, bool directory, bool regular)
{
	unsigned type = flags & HSM_MARK_TYPE_BITS, ignore = flags & HSM_MARK_IGNORE_BITS;
	if (mask & HSM_PRE_ACCESS && !directory && !regular)
		return -EINVAL;
	if (ignore == HSM_MARK_IGNORE && type == FAN_MARK_INODE && !directory &&
	    mask & (HSM_DIRENT_EVENTS | HSM_EVENT_FLAGS))
		return -ENOTDIR;
	if (ignore == HSM_MARK_IGNORE && !(flags & FAN_MARK_IGNORED_SURV_MODIFY)) {
		if (type != FAN_MARK_INODE)
			return -EINVAL;
		if (directory)
			return -EISDIR;
	}
	return 0;
}

int rules_mark_add(struct rules_mark *m, unsigned flags, uint32_t mask, bool directory)
{
	unsigned ignore = flags & HSM_MARK_IGNORE_BITS;
	if (m->is && flags & HSM_MARK_EVICTABLE && !m->evictable)
		return -EEXIST;
	if (ignore == FAN_MARK_IGNORED_MASK && m->ignore_flags)
		return -EEXIST;
	if (ignore == HSM_MARK_IGNORE && !(flags & FAN_MARK_IGNORED_SURV_MODIFY) && m->survives)
		return -EEXIST;
	if (!directory)
		mask &= ~(uint32_t)FAN_EVENT_ON_CHILD;
	if ((mask | m->mask) & HSM_PRE_ACCESS && (mask | m->mask) & FAN_ONDIR)
		return -EEXIST;
	if (!m->is)
		m->evictable = true;
	if (!(flags & HSM_MARK_EVICTABLE))
		m->evictable = false;
	m->is = true;
	if (!ignore) {
		m->mask |= mask;
		return 0;
	}
	m->ignored |= mask;
	m->ignore_flags |= ignore == HSM_MARK_IGNORE;
	m->survives |= (flags & FAN_MARK_IGNORED_SURV_MODIFY) != 0;
	return 0;
}

int rules_mark_remove(struct rules_mark *m, unsigned flags, uint32_t mask, bool directory)
{
	uint32_t kept = 0;
	if (!m->is)
		return -ENOENT;
	if ((flags & HSM_MARK_IGNORE_BITS) == FAN_MARK_IGNORED_MASK)
		kept = HSM_EVENT_FLAGS;
	if (!directory)
		kept = FAN_EVENT_ON_CHILD;
	if (flags & HSM_MARK_IGNORE_BITS)
		m->ignored &= ~(mask & ~kept);
	else
		m->mask &= ~(mask & ~kept);
	if (!((m->mask | m->ignored) & ~kept))
		memset(m, 0, sizeof(*m));
	return 0;
}

unsigned rules_mark_effect(const struct rules_mark *m, bool directory)
{
	unsigned effect = 0;
	bool children = (m->ignore_flags ? m->ignored : m->mask) & FAN_EVENT_ON_CHILD;
	if (m->mask & HSM_PRE_ACCESS && !directory)
		effect |= RULES_OBJECT;
	if (m->mask & HSM_PRE_ACCESS && m->mask & FAN_EVENT_ON_CHILD)
		effect |= RULES_CHILDREN;
	if (m->ignored & HSM_PRE_ACCESS && !directory)
		effect |= RULES_IGNORE_OBJECT;
	if (m->ignored & HSM_PRE_ACCESS && directory && children)
		effect |= RULES_IGNORE_CHILDREN;
	return effect;
}

static int response_info(const void *data, size_t length)
{
	struct hsm_info_audit info;
	if (length != sizeof(info))
		return -EINVAL;
	memcpy(&info, data, sizeof(info));
	return info.header.type == 1 && info.header.pad == 0 && info.header.length == sizeof(info)
	               ? 0
	               : -EINVAL;
}

static bool errno_may_deny(int error)
{
	return error == 0 || error == EPERM || error == EIO || error == EBUSY || error == ETXTBSY ||
	       error == EAGAIN || error == ENOSPC || error == EDQUOT;
}

int rules_response(const void *data, size_t length, unsigned init_flags, int *fd, bool *allow,
                   int *error, size_t *taken)
{
	struct fanotify_response r;
	if (length < sizeof(r))
		return -EINVAL;
	memcpy(&r, data, sizeof(r));
	unsigned access = r.response & HSM_RESPONSE_ACCESS;
	int with = (int)(r.response >> HSM_RESPONSE_ERROR_SHIFT);
	if (r.response & ~HSM_RESPONSE_BITS)
		return -EINVAL;
	if (access == FAN_ALLOW ? with != 0 : access != FAN_DENY || !errno_may_deny(with))
		return -EINVAL;
	if (r.response & HSM_RESPONSE_AUDIT && !(init_flags & FAN_ENABLE_AUDIT))
		return -EINVAL;
	if (r.response & HSM_RESPONSE_INFO &&
	    response_info((const char *)data + sizeof(r), length - sizeof(r)) != 0)
		return -EINVAL;
	*taken = r.response & HSM_RESPONSE_INFO ? length : sizeof(r);
	if (r.response & HSM_RESPONSE_INFO && r.fd == FAN_NOFD)
		return 1;
	if (r.fd < 0)
		return -EINVAL;
	*fd = r.fd;
	*allow = access == FAN_ALLOW;
	*error = with;
	return 0;
}
