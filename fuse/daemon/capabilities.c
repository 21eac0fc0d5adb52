/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/capabilities.h"
#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	unsigned number;
	const char *name;
} names[] = {
        {CAP_CHOWN, "chown"},
        {CAP_DAC_OVERRIDE, "dac_override"},
        {CAP_FOWNER, "fowner"},
        {CAP_FSETID, "fsetid"},
        {CAP_NET_BIND_SERVICE, "net_bind_service"},
        {CAP_SYS_ADMIN, "sys_admin"},
        {CAP_SYS_RESOURCE, "sys_resource"},
        {CAP_MKNOD, "mknod"},
        {CAP_LEASE, "lease"},
        {CAP_SETFCAP, "setfcap"},
};

static uint64_t whole(const struct __user_cap_data_struct data[2])
{
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

int capabilities_keep(uint64_t most, uint64_t *kept)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	uint64_t keep = whole(data) & most;
	/* the end of the list is EINVAL. EPERM: without CAP_SETPCAP the set remains, but it gives
	 * nothing to a thread that may not gain privileges */
	for (unsigned n = 0; n < 64 && prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0; n++)
		if (!(most & CAPABILITY_BIT(n)) && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) < 0 &&
		    errno != EPERM)
			return -errno;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned half = 0; half < 2; half++) {
		data[half].permitted = data[half].effective = (uint32_t)(keep >> 32 * half);
		data[half].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	if (kept)
		*kept = keep;
	return 0;
}

char *capabilities_text(uint64_t set)
{
	GString *text = g_string_new(NULL);
	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++)
		if (set & CAPABILITY_BIT(names[n].number))
			g_string_append_printf(text, "%s%s", text->len ? "," : "", names[n].name);
	return g_string_free(text, FALSE);
}
