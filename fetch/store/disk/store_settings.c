/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* STATE/settings: the store's source, format and chunk size. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "fetch/store/disk/store_settings.h"
#include "fetch/base/error.h"
#include "fetch/store/disk/format.h"

#define GROUP "store"
#define SETTINGS_MAX 65536

static bool settings_fail(GError **error, const char *store, int err)
{
	g_set_error(error, LOCAL_ERROR, err, "%s/state/settings: %s", store, g_strerror(err));
	return false;
}

static bool settings_damaged(GError **error, const char *store)
{
	g_set_error(error, LOCAL_ERROR, EUCLEAN, "%s/state/settings is damaged", store);
	return false;
}

/* A key file holds UTF-8 only, a path any bytes. */
static char *source_escape(const char *source)
{
	return g_utf8_validate(source, -1, NULL) ? g_strdup(source) : g_strescape(source, NULL);
}

bool store_settings_parse(const char *store, const char *text, size_t length,
                          struct store_settings *s, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *ours = source_escape(s->source);
	g_autofree char *theirs = NULL;
	guint64 format, shift;

	if (!g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, NULL))
		return settings_damaged(error, store);
	format = g_key_file_get_uint64(file, GROUP, "format", NULL);
	if (format > STORE_FORMAT) {
		g_set_error(error, LOCAL_ERROR, EPROTONOSUPPORT,
		            "store %s is of format %" G_GUINT64_FORMAT
		            ", newer than this lacunafs knows (%d)",
		            store, format, STORE_FORMAT);
		return false;
	}
	theirs = g_key_file_get_string(file, GROUP, "source", NULL);
	shift = g_key_file_get_uint64(file, GROUP, "chunk_shift", NULL);
	if (format == 0 || theirs == NULL || shift < CHUNK_SHIFT_MIN || shift > CHUNK_SHIFT_MAX)
		return settings_damaged(error, store);
	if (g_strcmp0(theirs, ours) != 0) {
		g_set_error(error, LOCAL_ERROR, EBUSY,
		            "store %s belongs to %s, not to %s; choose another --store", store,
		            theirs, ours);
		return false;
	}
	if (s->chunk_shift == 0)
		s->chunk_shift = shift;
	return true;
}

bool store_settings_load(int state, const char *store, struct store_settings *s, GError **error)
{
	g_autofree char *text = g_malloc(SETTINGS_MAX);
	int fd = openat(state, "settings", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return settings_fail(error, store, errno);
	n = read(fd, text, SETTINGS_MAX);
	close(fd);
	if (n < 0)
		return settings_fail(error, store, errno);
	if (n == SETTINGS_MAX)
		return settings_damaged(error, store);
	return store_settings_parse(store, text, (size_t)n, s, error);
}

/* Durable, and visible only if complete. */
static int settings_write(int state, const char *text, size_t length)
{
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(state, "settings.new", flags, 0600), err = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, length);
	if (n < 0)
		err = -errno;
	else if ((size_t)n != length)
		err = -ENOSPC;
	else if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	if (err == 0 && renameat(state, "settings.new", state, "settings") < 0)
		err = -errno;
	if (err)
		unlinkat(state, "settings.new", 0);
	else if (fsync(state) < 0)
		err = -errno;
	return err;
}

bool store_settings_save(int state, const char *store, const struct store_settings *s,
                         GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *source = source_escape(s->source);
	g_autofree char *text = NULL;
	gsize length;
	int err;

	g_key_file_set_integer(file, GROUP, "format", STORE_FORMAT);
	g_key_file_set_string(file, GROUP, "source", source);
	g_key_file_set_uint64(file, GROUP, "chunk_shift", s->chunk_shift);
	text = g_key_file_to_data(file, &length, NULL);
	err = settings_write(state, text, length);
	return err == 0 || settings_fail(error, store, -err);
}
