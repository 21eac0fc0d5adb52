/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/rendezvous.h"
#include "fetch/base/error.h"

enum { DIRECTORIES_MAX = 8 };

static bool refuse(GError **error, const char *directory, int code, const char *why)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", directory, why);
	return false;
}

/* `directory` exists (created, with `create`), is a directory of `uid`, and closed to others. */
static bool rendezvous_check(const char *directory, unsigned uid, bool create, GError **error)
{
	struct stat st;
	if (create && mkdir(directory, 0700) != 0 && errno != EEXIST)
		return refuse(error, directory, errno, g_strerror(errno));
	if (lstat(directory, &st) != 0)
		return refuse(error, directory, errno, g_strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return refuse(error, directory, ENOTDIR, "not a directory");
	if (st.st_uid != uid) {
		g_set_error(error, LOCAL_ERROR, EPERM, "%s: belongs to uid %u", directory,
		            (unsigned)st.st_uid);
		return false;
	}
	if (st.st_mode & 022)
		return refuse(error, directory, EPERM, "others may write to it");
	return true;
}

/* /tmp/lacunafs-UID.XXXXXX, made when another user has the name without the dot. */
static void others_add(GPtrArray *list, unsigned uid)
{
	g_autofree char *prefix = g_strdup_printf("lacunafs-%u.", uid);
	GDir *tmp = g_dir_open(RENDEZVOUS_TMP, 0, NULL);
	const char *name;
	while (tmp && list->len < DIRECTORIES_MAX && (name = g_dir_read_name(tmp))) {
		g_autofree char *path = g_build_filename(RENDEZVOUS_TMP, name, NULL);
		if (g_str_has_prefix(name, prefix) && rendezvous_check(path, uid, false, NULL))
			g_ptr_array_add(list, g_steal_pointer(&path));
	}
	if (tmp)
		g_dir_close(tmp);
}

char **rendezvous_directories(unsigned uid)
{
	GPtrArray *list = g_ptr_array_new();
	const char *runtime = g_getenv("XDG_RUNTIME_DIR");
	if (uid == 0)
		g_ptr_array_add(list, g_strdup("/run/lacunafs"));
	if (uid == geteuid() && runtime && g_path_is_absolute(runtime))
		g_ptr_array_add(list, g_build_filename(runtime, "lacunafs", NULL));
	g_ptr_array_add(list, g_strdup_printf("/run/user/%u/lacunafs", uid));
	g_ptr_array_add(list, g_strdup_printf(RENDEZVOUS_TMP "/lacunafs-%u", uid));
	others_add(list, uid);
	g_ptr_array_add(list, NULL);
	return (char **)g_ptr_array_free(list, FALSE);
}

bool rendezvous_address(const char *directory, unsigned major, unsigned minor,
                        struct sockaddr_un *out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%u:%u", directory,
	                        major, minor);
	if (length >= (int)sizeof(address.sun_path))
		return false;
	*out = address;
	return true;
}

/* A directory that no other user can have made, since its name was not known before. */
static char *private_make(unsigned uid, GString *why)
{
	char *path = g_strdup_printf(RENDEZVOUS_TMP "/lacunafs-%u.XXXXXX", uid);
	if (g_mkdtemp_full(path, 0700))
		return path;
	g_string_append_printf(why, "; %s: %s", path, g_strerror(errno));
	g_free(path);
	return NULL;
}

char *rendezvous_directory(unsigned uid, bool create, GError **error)
{
	g_auto(GStrv) list = rendezvous_directories(uid);
	g_autoptr(GString) why = g_string_new(NULL);
	for (char **directory = list; *directory; directory++) {
		struct sockaddr_un address;
		g_autoptr(GError) cause = NULL;
		if (!rendezvous_address(*directory, UINT16_MAX, UINT16_MAX, &address))
			g_string_append_printf(why, "; %s: %s", *directory,
			                       g_strerror(ENAMETOOLONG));
		else if (rendezvous_check(*directory, uid, create, &cause))
			return g_strdup(*directory);
		else
			g_string_append_printf(why, "; %s", cause->message);
	}
	char *made = create ? private_make(uid, why) : NULL;
	if (!made)
		g_set_error(error, LOCAL_ERROR, EPERM, "no directory for the control socket: %s",
		            why->str + strlen("; "));
	return made;
}

int rendezvous_listen(const struct sockaddr_un *address, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the device number is ours while mounted: another socket of that name is dead */
	unlink(address->sun_path);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
	    chmod(address->sun_path, 0600) == 0 && listen(fd, backlog) == 0)
		return fd;
	int err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return -1;
}
