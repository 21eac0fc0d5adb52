/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Definitions of fanotify(7) of Linux 6.14 and later, for older headers.
 * Source:  include/uapi/linux/fanotify.h, include/linux/fanotify.h of 6.14 to 6.18
 */
#pragma once
#include <stdint.h>
#include <sys/fanotify.h>

#define HSM_PRE_ACCESS 0x00100000u
#define HSM_RENAME 0x10000000u

#define HSM_CLASS_BITS 0x0000000cu
#define HSM_REPORT_FD_ERROR 0x00002000u
#define HSM_REPORT_MNT 0x00004000u
#define HSM_FID_BITS 0x00001e00u /* FAN_REPORT_FID, _DIR_FID, _NAME, _TARGET_FID */
#define HSM_INIT_FLAGS 0x00007fffu

#define HSM_MARK_TYPE_BITS 0x00000110u
#define HSM_MARK_COMMAND_BITS 0x00000083u
#define HSM_MARK_IGNORE_BITS 0x00000420u
#define HSM_MARK_FLAGS 0x000007ffu
#define HSM_MARK_MNTNS 0x00000110u
#define HSM_MARK_EVICTABLE 0x00000200u
#define HSM_MARK_IGNORE 0x00000400u

#define HSM_MNT_EVENTS 0x03000000u /* FAN_MNT_ATTACH, FAN_MNT_DETACH */
#define HSM_PERM_EVENTS                                                                            \
	0x00170000u                   /* FAN_OPEN_PERM, _ACCESS_PERM, _OPEN_EXEC_PERM, _PRE_ACCESS \
	                               */
#define HSM_FD_EVENTS 0x0017103bu     /* those with a descriptor */
#define HSM_EVENT_FLAGS 0x48000000u   /* FAN_ONDIR, FAN_EVENT_ON_CHILD */
#define HSM_DIRENT_EVENTS 0x100003c0u /* FAN_MOVED_FROM, _TO, FAN_CREATE, _DELETE, _RENAME */
#define HSM_MARK_MASK 0x5b179fffu     /* all events of marks */

#define HSM_RESPONSE_ACCESS 0x00000003u
#define HSM_RESPONSE_AUDIT 0x00000010u
#define HSM_RESPONSE_INFO 0x00000020u
#define HSM_RESPONSE_BITS 0xff000033u
#define HSM_RESPONSE_ERROR_SHIFT 24

#define HSM_INFO_PIDFD 4
#define HSM_INFO_RANGE 6

struct hsm_info {
	uint8_t type, pad;
	uint16_t length;
};

struct hsm_info_pidfd {
	struct hsm_info header;
	int32_t pidfd;
};

struct hsm_info_range {
	struct hsm_info header;
	uint32_t pad;
	uint64_t offset, count; /* bytes, whole pages */
};

struct hsm_info_audit { /* may follow a response */
	struct hsm_info header;
	uint32_t rule, subject_trust, object_trust;
};

_Static_assert(sizeof(struct fanotify_event_metadata) == 24, "as in the kernel");
_Static_assert(sizeof(struct hsm_info_range) == 24, "as in the kernel");
