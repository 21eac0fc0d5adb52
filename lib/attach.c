/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "lib/attach.h"
#include "lib/handler.h"
#include "lib/reply.h"

enum { PATIENCE_MS = 10000, PRIVATE_MAX = 4 };

static const char FILE_SYSTEM[] = "fuse.lacunafs ";

int mountinfo_owner(FILE *mountinfo, unsigned major, unsigned minor, uint32_t *uid)
{
	char *line = NULL;
	size_t size = 0;
	int r = -ENOTTY;
	/* 36 35 98:0 /root /point rw,noatime [tag…] - type source options; blanks in them: \040 */
	while (r && getline(&line, &size, mountinfo) > 0) {
		unsigned a, b;
		const char *type = strstr(line, " - ");
		if (!type || sscanf(line, "%*u %*u %u:%u", &a, &b) != 2 || a != major || b != minor)
			continue;
		if (strncmp(type + 3, FILE_SYSTEM, sizeof(FILE_SYSTEM) - 1) != 0)
			continue;
		const char *options = strrchr(type, ' ');
		const char *owner = strstr(options, "user_id=");
		if (owner && strchr(" ,", owner[-1])) {
			*uid = (uint32_t)strtoul(owner + 8, NULL, 10);
			r = 0;
		}
	}
	free(line);
	return r;
}

static int mount_owner(unsigned major, unsigned minor, uint32_t *uid)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	int r = mountinfo_owner(f, major, minor, uid);
	fclose(f);
	return r;
}

/* A directory that any user could have made, as in /tmp, is ignored. */
static int directory_check(const char *path, uint32_t uid)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return st.st_uid == uid && !(st.st_mode & 022) ? 0 : -ENOENT;
}

/* The n-th directory of `uid` that mounts made under a random name, since another user had
 * /tmp/lacunafs-UID. */
static bool private_place(unsigned n, uint32_t uid, char *path, size_t size, int *length)
{
	char prefix[32];
	struct dirent *e;
	bool found = false;
	DIR *tmp = opendir("/tmp");
	snprintf(prefix, sizeof(prefix), "lacunafs-%u.", uid);
	while (tmp && !found && (e = readdir(tmp))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		*length = snprintf(path, size, "/tmp/%s", e->d_name);
		found = *length > 0 && (size_t)*length < size && directory_check(path, uid) == 0 &&
		        n-- == 0;
	}
	if (tmp)
		closedir(tmp);
	return found;
}

/* The n-th place of the socket, in the order in which a mount tries them; false: no more, else
 * *length is that of the directory, 0: none there. */
static bool place(unsigned n, uint32_t uid, char *path, size_t size, int *length)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	*length = 0;
	if (n > 3)
		return n < 4 + PRIVATE_MAX && private_place(n - 4, uid, path, size, length);
	if (n == 0 && uid == 0)
		*length = snprintf(path, size, "/run/lacunafs");
	else if (n == 1 && uid == geteuid() && runtime && runtime[0] == '/')
		*length = snprintf(path, size, "%s/lacunafs", runtime);
	else if (n == 2)
		*length = snprintf(path, size, "/run/user/%u/lacunafs", uid);
	else if (n == 3)
		*length = snprintf(path, size, "/tmp/lacunafs-%u", uid);
	return true;
}

static void patience_set(int fd, int ms)
{
	const struct timeval t = {.tv_sec = ms / 1000};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)); /* of connect(2), too */
}

static int connect_checked(const struct sockaddr_un *address, uint32_t uid)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t size = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code = 0;
	if (fd < 0)
		return -errno;
	patience_set(fd, PATIENCE_MS);
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		code = errno;
	else if (peer.uid != 0 && peer.uid != uid)
		code = EACCES;
	if (!code)
		return fd;
	close(fd);
	return -code;
}

int attach_connect(unsigned major, unsigned minor, uint32_t uid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char *path = address.sun_path;
	const size_t size = sizeof(address.sun_path);
	int r = -ENOENT, length;
	for (unsigned n = 0; place(n, uid, path, size, &length); n++) {
		if (length <= 0 || (size_t)length >= size)
			continue;
		int fd = directory_check(path, uid);
		if (fd == 0) {
			int more = snprintf(path + length, size - (size_t)length, "/%u:%u", major,
			                    minor);
			fd = (size_t)(length + more) < size ? connect_checked(&address, uid)
			                                    : -ENOENT;
		}
		if (fd >= 0)
			return fd;
		if (fd != -ENOENT && fd != -ENOTDIR && r != -EACCES)
			r = fd;
	}
	return r == -ENOENT ? -ECONNREFUSED : r;
}

static bool name_fits(const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < n; i++)
		if (name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\')
			return false;
	return n > 0 && n <= LACUNA_NAME_MAX;
}

/* A newer caller has more options than this library knows: they must have their defaults, 0. */
static bool options_fit(const struct lacuna_options *o)
{
	if (o->size < sizeof(*o) || o->size > 4096)
		return false;
	for (size_t i = sizeof(*o); i < o->size; i++)
		if (((const char *)o)[i])
			return false;
	return o->mode <= LACUNA_EVERY && o->class_ <= LACUNA_CLASS_CONTENT &&
	       (!o->name || name_fits(o->name));
}

int attach_line(const struct lacuna_options *options, char line[LINE_MAX_BYTES])
{
	const struct lacuna_options none = {.size = sizeof(none)};
	const struct lacuna_options *o = options ? options : &none;
	char name[LACUNA_NAME_MAX + 16] = "";
	if (!options_fit(o))
		return -EINVAL;
	if (o->name)
		snprintf(name, sizeof(name), ", \"name\": \"%s\"", o->name);
	return snprintf(line, LINE_MAX_BYTES,
	                "{\"verb\": \"attach\", \"version\": %d, \"mode\": \"%s\", "
	                "\"class\": \"%s\", \"backlog\": %u%s}\n",
	                LACUNA_PRECONTENT_VERSION, o->mode == LACUNA_EVERY ? "every" : "holes",
	                o->class_ == LACUNA_CLASS_CONTENT ? "content" : "pre-content",
	                o->backlog ? o->backlog : LACUNA_BACKLOG, name);
}

int attach_talk(int socket, const char *line, int length, struct inbox *in, int *inherited)
{
	char answer[LINE_MAX_BYTES];
	int64_t until = time_now_ms() + PATIENCE_MS;
	int r = message_send(socket, line, (size_t)length);
	/* A daemon that refuses may answer before it has read all, and hang up */
	while (r == 0 || r == -ECONNRESET) {
		int got = inbox_line(in, answer);
		if (got >= 0)
			return reply_parse(answer, inherited);
		if (got != -EAGAIN)
			return got;
		struct pollfd p = {.fd = socket, .events = POLLIN};
		int64_t left = until - time_now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		r = inbox_receive(in, socket);
		if (r == -EAGAIN)
			r = 0;
		else if (r == -ECONNRESET)
			return -EPROTO; /* closed without an answer */
	}
	return r;
}

int lacuna_attach(const char *path, const struct lacuna_options *options,
                  struct lacuna_handler **out, int *inherited)
{
	ERRNO_KEPT;
	char line[LINE_MAX_BYTES];
	struct statx st;
	uint32_t uid;
	int ours = 0, length = attach_line(options, line);
	if (!path || length < 0)
		return -EINVAL;
	/* for an empty mask FUSE tells the device even to a caller that may see nothing else */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, 0, &st) != 0)
		return -errno;
	int r = mount_owner(st.stx_dev_major, st.stx_dev_minor, &uid);
	if (r < 0)
		return r;
	int fd = attach_connect(st.stx_dev_major, st.stx_dev_minor, uid);
	if (fd < 0)
		return fd;
	struct lacuna_handler *h = handler_new(fd, st.stx_dev_major, st.stx_dev_minor, &r);
	if (!h)
		return r;
	r = attach_talk(fd, line, length, &h->inbox, &ours);
	if (r == 0)
		r = handler_begin(h);
	if (r < 0) {
		lacuna_close(h, 1);
		return r;
	}
	patience_set(fd, 0);
	if (inherited)
		*inherited = ours;
	*out = h;
	return 0;
}
