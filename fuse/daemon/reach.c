/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/daemon/reach.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuse/base/address.h"
#include "fuse/base/caller.h"
#include "fuse/base/rendezvous.h"

/* libc, its plug-ins for names, time zones, the plug-ins of TLS libraries. /proc: callers, and the
 * process itself. */
static const char *const always[] = {"/usr",       "/lib",           "/lib64",
                                     "/nix/store", "/etc/localtime", "/proc"};

/* Resolvers and trusted certificates. The files are replaced by rename, so a rule for one of them
 * would end with it. */
static const char *const of_network[] = {
        "/etc",         "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
        "/run/connman", "/run/netconfig",       "/mnt/wsl",        "/var/lib/ca-certificates",
};

/* Files or directories, of OpenSSL and libc */
static const char *const variables[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF",
                                        "HOSTALIASES"};

static bool is_directory(const char *source)
{
	return g_str_has_prefix(source, "dir:");
}

bool reach_network(const struct settings *s)
{
	bool network = !is_directory(s->source);
	for (guint n = 0; n < s->mirror_names->len; n++)
		network |= !is_directory(s->mirror_names->pdata[n]);
	return network;
}

static bool is_empty(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	bool empty = dir && !g_dir_read_name(dir);
	if (dir)
		g_dir_close(dir);
	return empty;
}

/* A directory that is not there yet, or on which a file system is still to be mounted: a rule does
 * not reach over a mount point from below, so the nearest directory above gets it. */
static void directory_allow(struct landlock *l, const struct settings *s, const char *path)
{
	bool later = s->source_options.offline || s->mirrors->len;
	g_autofree char *at = g_strdup(path);
	if (later && is_empty(at)) {
		char *above = g_path_get_dirname(at);
		g_free(at);
		at = above;
	}
	while (access(at, F_OK) < 0 && strcmp(at, "/") != 0) {
		char *above = g_path_get_dirname(at);
		g_free(at);
		at = above;
	}
	landlock_allow(l, at, LANDLOCK_READ);
}

static void sources_allow(struct landlock *l, const struct settings *s)
{
	if (is_directory(s->source))
		directory_allow(l, s, s->source + strlen("dir:"));
	for (guint n = 0; n < s->mirror_names->len; n++) {
		const char *name = s->mirror_names->pdata[n];
		if (is_directory(name))
			directory_allow(l, s, name + strlen("dir:"));
	}
}

/* Where a symbolic link leads now. */
static void target_allow(struct landlock *l, const char *path)
{
	char *real = realpath(path, NULL);
	g_autofree char *directory = real ? g_path_get_dirname(real) : NULL;
	free(real);
	if (directory && strcmp(directory, "/") != 0)
		landlock_allow(l, directory, LANDLOCK_READ);
}

static void network_allow(struct landlock *l, const struct source_options *o)
{
	const char *const given[] = {o->ca_file, o->cert_file, o->key_file};
	for (unsigned n = 0; n < G_N_ELEMENTS(of_network); n++)
		landlock_allow(l, of_network[n], LANDLOCK_READ);
	target_allow(l, "/etc/resolv.conf");
	target_allow(l, "/etc/ssl/certs/ca-certificates.crt");
	for (unsigned n = 0; n < G_N_ELEMENTS(variables); n++)
		if (g_getenv(variables[n]))
			landlock_allow(l, g_getenv(variables[n]), LANDLOCK_READ);
	for (unsigned n = 0; n < G_N_ELEMENTS(given); n++)
		if (given[n])
			landlock_allow(l, given[n], LANDLOCK_READ);
}

/* The control socket, and that of the metrics. */
static void sockets_allow(struct landlock *l, const struct settings *s)
{
	struct address address;
	g_autofree char *control = rendezvous_directory(getuid(), true, NULL);
	if (control)
		landlock_allow(l, control, LANDLOCK_NAME);
	if (control && g_str_has_prefix(control, RENDEZVOUS_TMP "/"))
		landlock_allow(l, RENDEZVOUS_TMP, LANDLOCK_LIST); /* it is found by its name */
	if (!s->metrics || !address_parse(s->metrics, &address, NULL))
		return;
	if (address.any.sa_family != AF_UNIX) {
		landlock_allow_bind(l, address_port(&address));
		return;
	}
	g_autofree char *directory = g_path_get_dirname(address.path.sun_path);
	landlock_allow(l, directory, LANDLOCK_NAME);
}

#ifdef LOCKS_CHECKED
/* A sanitizer's reports: log_path=DIRECTORY/NAME. */
static void reports_allow(struct landlock *l)
{
	static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
		const char *options = g_getenv(names[n]);
		const char *path = options ? strstr(options, "log_path=") : NULL;
		g_autofree char *file = path ? g_strndup(path + 9, strcspn(path + 9, ":")) : NULL;
		g_autofree char *directory = file ? g_path_get_dirname(file) : NULL;
		if (directory)
			landlock_allow(l, directory, LANDLOCK_ALL);
	}
}
#endif

int reach_allow(struct landlock *l, const struct settings *s)
{
	int store = open(s->store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = store < 0 ? -errno : landlock_allow_fd(l, store, LANDLOCK_ALL);
	if (store >= 0)
		close(store);
	if (err)
		return err;
	for (unsigned n = 0; n < G_N_ELEMENTS(always); n++)
		landlock_allow(l, always[n], LANDLOCK_READ);
	landlock_allow(l, "/proc/self/exe", LANDLOCK_READ);
	if (caller_proc() >= 0)
		landlock_allow_fd(l, caller_proc(), LANDLOCK_READ);
	landlock_allow(l, "/dev/null", LANDLOCK_USE);
	landlock_allow(l, "/dev/fuse", LANDLOCK_USE);
	landlock_allow(l, "/dev/urandom", LANDLOCK_READ);
	sources_allow(l, s);
	sockets_allow(l, s);
	if (reach_network(s))
		network_allow(l, &s->source_options);
#ifdef LOCKS_CHECKED
	reports_allow(l);
#endif
	return 0;
}
