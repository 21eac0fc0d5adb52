/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/error.h"
#include "fuse/control.h"
#include "fuse/rendezvous.h"

char **rendezvous_directories(unsigned uid)
{
	GPtrArray *list = g_ptr_array_new();
	const char *runtime = g_getenv("XDG_RUNTIME_DIR");
	if (uid == 0)
		g_ptr_array_add(list, g_strdup("/run/lacunafs"));
	if (uid == geteuid() && runtime && g_path_is_absolute(runtime))
		g_ptr_array_add(list, g_build_filename(runtime, "lacunafs", NULL));
	g_ptr_array_add(list, g_strdup_printf("/run/user/%u/lacunafs", uid));
	g_ptr_array_add(list, g_strdup_printf("/tmp/lacunafs-%u", uid));
	g_ptr_array_add(list, NULL);
	return (char **)g_ptr_array_free(list, FALSE);
}

static bool refuse(GError **error, const char *directory, int code, const char *why)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", directory, why);
	return false;
}

bool rendezvous_check(const char *directory, unsigned uid, bool create, GError **error)
{
	struct stat st;
	if (create && mkdir(directory, 0700) != 0 && errno != EEXIST)
		return refuse(error, directory, errno, g_strerror(errno));
	if (lstat(directory, &st) != 0)
		return refuse(error, directory, errno, g_strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return refuse(error, directory, ENOTDIR, "not a directory");
	if (st.st_uid != uid || (st.st_mode & 022))
		return refuse(error, directory, EPERM, "others may write to it");
	return true;
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

char *control_directory(unsigned uid, bool create, GError **error)
{
	g_auto(GStrv) list = rendezvous_directories(uid);
	g_autoptr(GError) first = NULL;
	for (char **directory = list; *directory; directory++) {
		struct sockaddr_un address;
		if (rendezvous_address(*directory, UINT16_MAX, UINT16_MAX, &address) &&
		    rendezvous_check(*directory, uid, create, first ? NULL : &first))
			return g_strdup(*directory);
	}
	g_set_error(error, LOCAL_ERROR, first ? first->code : ENAMETOOLONG,
	            "no directory for the control socket: %s",
	            first ? first->message : "the name is too long");
	return NULL;
}
