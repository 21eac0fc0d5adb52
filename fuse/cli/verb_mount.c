/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fuse/base/log.h"
#include "fuse/base/logfile.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/arguments.h"
#include "fuse/cli/unmounting.h"
#include "fuse/cli/verb.h"
#include "fuse/daemon/daemon.h"
#include "fuse/daemon/mountpoint.h"

static const char help[] =
        "Usage: lacunafs mount SOURCE MOUNTPOINT [OPTION]...\n"
        "SOURCE: a path, dir:PATH, http://... or https://...\n"
        "  --mirror SOURCE    another copy, used if those before fail; may be repeated\n"
        "  --store DIR        keep fetched data in DIR (default: below ~/.cache/lacunafs)\n"
        "  -f, --foreground   stay in the foreground; --ready-fd FD: a byte when ready\n"
        "  --header \"N: V\"    send this header with every request; may be repeated\n"
        "  --token-file FILE  bearer token; --query-file FILE: query of each request\n"
        "  --ca-file FILE     more trusted CAs; --cert FILE [--key FILE]: client's own\n"
        "  --log FILE         log to FILE (default: STORE/state/log), or to syslog\n"
        "  -o, --options X,Y  options below; others go to libfuse: ro, allow_other, ...\n"
        "    chunk_size=64K        unit of a fetch  passthrough=auto    or no\n"
        "    readahead=32M, prefetch=64M  at most   quota=SIZE, min_free=auto  disk space\n"
        "    connect_timeout=5s    to a server      stall_timeout=10s   without progress\n"
        "    wait_timeout=30s      per call         retries=3           per request\n"
        "    listing_ttl=300s      then revalidate  connections=16      per host\n"
        "    index_names=2000000   per index page   index_bytes=256M, index_memory=1G\n"
        "    index_timezone=UTC    of index pages   owner=source        me: own all files\n"
        "    filemode=0755, dirmode=0755, uid=N, gid=N  if unknown   allow_rollback  old\n"
        "    etag=yes, netrc=yes, cookies=yes, index=yes, verify=yes|no  verify_key=FILE\n"
        "    mirror_retry=10s      a failed one     mirror_takeover=15m of its listings\n"
        "    mirror=URL, store=DIR as --mirror ...  mirror_credentials=own  or shared\n"
        "    auth=basic, threads=0 0: automatic     keeper=auto, confine=auto  or no\n"
        "    exec_writes=deny, inode32  small ids   metrics=ADDRESS     served over HTTP\n"
        "    handler_lost=wait     deny or source   handler_timeout=60s per event\n"
        "    overlays=auto         above it  offline  no request   end_epoch  verify all\n";

static bool fail(GError **error, int code, const char *what, const char *why)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: %s", what, why);
	return false;
}

static bool below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	return strncmp(path, directory, length) == 0 &&
	       (path[length] == '/' || path[length] == '\0' || directory[length - 1] == '/');
}

/* The store's existing directory, or the one that it will be made in. */
static bool store_place_check(const struct settings *s, const GPtrArray *mounts, GError **error)
{
	g_autofree char *there = g_strdup(s->store);
	struct stat st;
	bool found;
	while (!(found = stat(there, &st) == 0) && errno == ENOENT && strcmp(there, "/") != 0) {
		char *parent = g_path_get_dirname(there);
		g_free(there);
		there = parent;
	}
	const struct mount *m =
	        found ? mounts_of_device(mounts, major(st.st_dev), minor(st.st_dev)) : NULL;
	if (!m)
		return true;
	g_autofree char *why = g_strdup_printf(
	        "a store cannot lie in a lacunafs mount (%s, of %s); choose another --store",
	        m->point, m->source);
	return fail(error, EINVAL, s->store, why);
}

static bool mountpoint_check(const struct settings *s, GError **error)
{
	struct stat st;
	/* first: stat(2) of a mount whose daemon hangs blocks, even if we are killed */
	if (!unmount_dead(s->mountpoint, error) || !mountpoint_is_free(s->mountpoint, error))
		return false;
	if (stat(s->mountpoint, &st) != 0)
		return fail(error, errno, s->mountpoint, g_strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return fail(error, ENOTDIR, s->mountpoint, "not a directory");
	g_autoptr(GPtrArray) mounts = mounts_read(error);
	if (!mounts)
		return false;
	if (s->log && below(s->log, s->mountpoint))
		return fail(
		        error, EINVAL, s->log,
		        "the log would be under the mountpoint, where the daemon cannot reach it");
	if (!store_place_check(s, mounts, error))
		return false;
	if (below(s->store, s->mountpoint))
		return fail(error, EINVAL, s->store,
		            "the store would be under the mountpoint, where the daemon cannot "
		            "reach it");
	return true;
}

/* A tree that contains its own mount, or its own store, would never end. A mount over its own
 * source is fine: the directory below is open by then. */
static bool source_check(const struct settings *s, const char *canonical, GError **error)
{
	const char *source = g_str_has_prefix(canonical, "dir:") ? canonical + 4 : NULL;
	if (!source)
		return true;
	g_autofree char *point = realpath(s->mountpoint, NULL);
	const char *mountpoint = point ? point : s->mountpoint;
	if (below(mountpoint, source) && strcmp(mountpoint, source) != 0)
		return fail(error, EINVAL, s->mountpoint,
		            "the mountpoint would lie inside of the source");
	if (below(s->store, source))
		return fail(error, EINVAL, s->store, "the store would lie inside of the source");
	return true;
}

static bool sources_check(const struct settings *s, GError **error)
{
	bool ok = source_check(s, s->source, error);
	for (guint n = 0; ok && n < s->mirror_names->len; n++)
		ok = source_check(s, s->mirror_names->pdata[n], error);
	return ok;
}

static bool file_check(const char *file, GError **error)
{
	return !file || access(file, R_OK) == 0 || fail(error, errno, file, g_strerror(errno));
}

static bool device_check(GError **error)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(error, errno, "/dev/fuse", g_strerror(errno));
	close(fd);
	if (geteuid() == 0)
		return true;
	g_autofree char *helper = g_find_program_in_path("fusermount3");
	return helper || fail(error, ENOENT, "fusermount3",
	                      "not found; without root it does the mounting (package fuse3)");
}

static bool places_check(const struct settings *s, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(s->store);
	if (g_mkdir_with_parents(parent, 0700) != 0)
		return fail(error, errno, parent, g_strerror(errno));
	if (!s->log || log_is_syslog(s->log))
		return true;
	int fd = logfile_open(s->log, error);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ps(1) shows argv to every user. */
static void argv_hide(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		char *value = NULL;
		log_redact(argv[i]);
		if (g_str_has_prefix(argv[i], "--header="))
			value = argv[i] + strlen("--header=");
		else if (i > 0 && strcmp(argv[i - 1], "--header") == 0)
			value = argv[i];
		if (value)
			memset(value, 'x', strlen(value));
	}
}

static int run(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	struct settings *s = settings_parse(argc, argv, &error);
	argv_hide(argc, argv);
	if (!s) {
		verb_complain("%s", error->message);
		return g_error_matches(error, FETCH_ERROR, FETCH_USAGE) ? EXIT_USAGE : EXIT_FAILED;
	}
	int status;
	if (daemon_revive(s, &status)) {
		settings_free(s);
		return status;
	}
	bool ok = mountpoint_check(s, &error) && sources_check(s, &error) &&
	          file_check(s->source_options.token_file, &error) &&
	          file_check(s->source_options.query_file, &error) &&
	          file_check(s->source_options.ca_file, &error) &&
	          file_check(s->source_options.cert_file, &error) &&
	          file_check(s->source_options.key_file, &error) && device_check(&error) &&
	          places_check(s, &error);
	if (ok && s->foreground)
		ok = daemon_foreground(s, &error);
	else if (ok)
		ok = daemon_background(s, &error);
	if (!ok)
		verb_complain("%s", error->message);
	settings_free(s);
	return ok                                                 ? EXIT_OK
	       : g_error_matches(error, FETCH_ERROR, FETCH_USAGE) ? EXIT_USAGE
	                                                          : EXIT_FAILED;
}

const struct verb verb_mount = {"mount", run, help};
