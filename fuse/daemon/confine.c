/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/confine.h"
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "fuse/base/address.h"
#include "fuse/base/caller.h"
#include "fuse/daemon/capabilities.h"
#include "fuse/daemon/reach.h"
#include "fuse/daemon/seccomp.h"

/* CHOWN, FOWNER, FSETID, MKNOD, SETFCAP: attributes of local files. DAC_OVERRIDE: files of other
 * users, closed even to their owners. LEASE: on those files. SYS_ADMIN: trusted xattrs,
 * passthrough. SYS_RESOURCE: disk space reserved for root, the limit of descriptors. */
#define STORE_NEEDS                                                                                \
	(CAPABILITY_BIT(CAP_CHOWN) | CAPABILITY_BIT(CAP_DAC_OVERRIDE) |                            \
	 CAPABILITY_BIT(CAP_FOWNER) | CAPABILITY_BIT(CAP_FSETID) | CAPABILITY_BIT(CAP_MKNOD) |     \
	 CAPABILITY_BIT(CAP_SETFCAP) | CAPABILITY_BIT(CAP_LEASE) | CAPABILITY_BIT(CAP_SYS_ADMIN) | \
	 CAPABILITY_BIT(CAP_SYS_RESOURCE))

static char *reason(const char *what, int err)
{
	return g_strdup_printf("%s: %s", what, g_strerror(-err));
}

static uint64_t needs(const struct settings *s)
{
	struct address address;
	uint64_t set = STORE_NEEDS;
	if (s->metrics && address_parse(s->metrics, &address, NULL) && address_port(&address) &&
	    address_port(&address) < IPPORT_RESERVED)
		set |= CAPABILITY_BIT(CAP_NET_BIND_SERVICE);
	return set;
}

static char *files_confine(const struct settings *s)
{
	struct landlock l;
	int err = landlock_begin(&l, reach_network(s));
	if (err == -EOPNOTSUPP || err == -ENOSYS)
		return g_strdup("the kernel has no Landlock, or it is switched off");
	if (err == -EPROTONOSUPPORT)
		return g_strdup("Landlock of this kernel cannot rename between directories");
	if (err)
		return reason("Landlock", err);
	err = reach_allow(&l, s);
	if (err) {
		landlock_drop(&l);
		return reason(s->store, err);
	}
	err = landlock_end(&l);
	return err ? reason("Landlock", err) : NULL;
}

static char *privileges_drop(const struct settings *s, char **left)
{
	uint64_t kept = 0;
	int err = capabilities_keep(needs(s), &kept);
	*left = err ? NULL : capabilities_text(kept);
	return err ? reason("capabilities", err) : NULL;
}

static char *calls_refuse(void)
{
	int err = seccomp_refuse();
	if (err == -ENOSYS)
		return g_strdup("the system calls of this machine are not known");
	return err ? reason("seccomp", err) : NULL;
}

void confine_worker(const struct settings *s, struct confinement *out)
{
	const struct rlimit none = {0};
	const char *why = s->confine ? NULL : "switched off by -o confine=no";
	if (!why && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		why = "the kernel has no no_new_privs";
	*out = (struct confinement){g_strdup(why), g_strdup(why), g_strdup(why)};
	if (why)
		return;
	setrlimit(RLIMIT_CORE, &none);
	caller_begin(); /* it may mount a /proc */
	out->files = files_confine(s);
	out->privileges = privileges_drop(s, &out->capabilities);
	out->calls = calls_refuse();
}

char *confinement_lacks(const struct confinement *c)
{
	const char *const parts[] = {c->files, c->calls, c->privileges};
	static const char *const names[] = {"files", "system calls", "capabilities"};
	GString *text = g_string_new(NULL);
	for (unsigned n = 0; n < G_N_ELEMENTS(parts); n++)
		if (parts[n])
			g_string_append_printf(text, "%s%s (%s)", text->len ? "; " : "", names[n],
			                       parts[n]);
	return g_string_free(text, text->len == 0);
}

void confinement_clear(struct confinement *c)
{
	g_free(c->files);
	g_free(c->calls);
	g_free(c->privileges);
	g_free(c->capabilities);
}
