/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/landlock.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h of Linux 6.12, under names of our own */
#define TRUNCATE (UINT64_C(1) << 14)
#define BIND_TCP (UINT64_C(1) << 0)
#define CONNECT_TCP (UINT64_C(1) << 1)
#define ABSTRACT_SOCKETS (UINT64_C(1) << 0)
#define RULE_PORT 2
enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_TCP = 4, ABI_SCOPES = 6 };

struct ruleset {
	uint64_t files, net, scopes;
};

struct port_rule {
	uint64_t rights, port;
};

#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define CONTENT (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE)
#define NAMES (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)
/* A rule of anything but a directory may have no others. */
#define OF_FILES (CONTENT | LANDLOCK_ACCESS_FS_EXECUTE)

/* All that an old linux/landlock.h knows: EXECUTE to REFER. */
#define ALL_OLD ((LANDLOCK_ACCESS_FS_REFER << 1) - 1)

int landlock_begin(struct landlock *l, bool connects)
{
	*l = (struct landlock){.fd = -1};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0)
		return -errno;
	if (abi < ABI_REFER)
		return -EPROTONOSUPPORT;
	struct ruleset rules = {.files = ALL_OLD};
	size_t size = sizeof(rules.files);
	if (abi >= ABI_TRUNCATE)
		rules.files |= TRUNCATE;
	if (abi >= ABI_TCP) {
		rules.net = connects ? BIND_TCP : BIND_TCP | CONNECT_TCP;
		size = sizeof(rules.files) + sizeof(rules.net);
	}
	if (abi >= ABI_SCOPES) {
		rules.scopes = ABSTRACT_SOCKETS;
		size = sizeof(rules);
	}
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return -errno;
	*l = (struct landlock){.fd = fd, .files = rules.files, .tcp = abi >= ABI_TCP};
	return 0;
}

int landlock_allow_fd(struct landlock *l, int fd, enum landlock_right right)
{
	static const uint64_t rights[] = {
	        [LANDLOCK_READ] = READS,
	        [LANDLOCK_ALL] = UINT64_MAX,
	        [LANDLOCK_USE] = CONTENT,
	        [LANDLOCK_NAME] = NAMES,
	        [LANDLOCK_LIST] = LANDLOCK_ACCESS_FS_READ_DIR,
	};
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	struct landlock_path_beneath_attr rule = {.allowed_access = rights[right] & l->files,
	                                          .parent_fd = fd};
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= OF_FILES;
	if (syscall(SYS_landlock_add_rule, l->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

int landlock_allow(struct landlock *l, const char *path, enum landlock_right right)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	int err = landlock_allow_fd(l, fd, right);
	close(fd);
	return err;
}

int landlock_allow_bind(struct landlock *l, unsigned port)
{
	const struct port_rule rule = {.rights = BIND_TCP, .port = port};
	if (l->tcp && syscall(SYS_landlock_add_rule, l->fd, RULE_PORT, &rule, 0) < 0)
		return -errno;
	return 0;
}

int landlock_end(struct landlock *l)
{
	int err = syscall(SYS_landlock_restrict_self, l->fd, 0) < 0 ? -errno : 0;
	landlock_drop(l);
	return err;
}

void landlock_drop(struct landlock *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}
