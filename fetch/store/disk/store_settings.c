/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* STATE/settings: the store's source and mirrors, format and chunk size; and a copy of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/disk/store_settings.h"
#include "fetch/base/error.h"
#include "fetch/store/disk/format.h"

#define GROUP "store"
#define SETTINGS_MAX 65536
#define COPY "settings.copy"

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

static bool settings_too_new(GError **error, const char *store, guint64 format)
{
	g_set_error(error, LOCAL_ERROR, EPROTONOSUPPORT,
	            "store %s is of format %" G_GUINT64_FORMAT
	            ", newer than this lacunafs knows (%d)",
	            store, format, STORE_FORMAT);
	return false;
}

/* 0: none, or damaged. */
static guint64 format_of(const char *text, size_t length)
{
	g_autoptr(GKeyFile) file = g_key_file_new();

	return text && g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, NULL)
	               ? g_key_file_get_uint64(file, GROUP, "format", NULL)
	               : 0;
}

/* A key file holds UTF-8 only, a path any bytes. */
static char *source_escape(const char *source)
{
	return g_utf8_validate(source, -1, NULL) ? g_strdup(source) : g_strescape(source, NULL);
}

/* Caller frees. */
static char *settings_check(guint64 format, const char *source, guint64 shift, char **mirrors)
{
	g_autoptr(GString) text = g_string_new(NULL);

	g_string_printf(text, "%" G_GUINT64_FORMAT "\n%s\n%" G_GUINT64_FORMAT "\n", format, source,
	                shift);
	for (; mirrors && *mirrors; mirrors++)
		g_string_append_printf(text, "%s\n", *mirrors);
	return g_strdup_printf("%016" G_GINT64_MODIFIER "x",
	                       (guint64)XXH3_64bits(text->str, text->len));
}

/* Earlier versions wrote no check. */
static bool settings_intact(GKeyFile *file)
{
	guint64 format = g_key_file_get_uint64(file, GROUP, "format", NULL);
	guint64 shift = g_key_file_get_uint64(file, GROUP, "chunk_shift", NULL);
	g_autofree char *source = g_key_file_get_string(file, GROUP, "source", NULL);
	g_autofree char *said = g_key_file_get_string(file, GROUP, "check", NULL);
	g_auto(GStrv) mirrors = g_key_file_get_string_list(file, GROUP, "mirrors", NULL, NULL);
	g_autofree char *check = source ? settings_check(format, source, shift, mirrors) : NULL;

	return !said || (check && strcmp(said, check) == 0);
}

/* Caller frees. */
static char **mirrors_escape(const struct store_settings *s)
{
	g_autoptr(GPtrArray) out = g_ptr_array_new();

	for (const char *const *m = s->mirrors; m && *m; m++)
		g_ptr_array_add(out, source_escape(*m));
	g_ptr_array_add(out, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&out), FALSE);
}

static bool has(char **list, const char *one)
{
	return list != NULL && g_strv_contains((const char *const *)list, one);
}

bool store_settings_parse(const char *store, const char *text, size_t length,
                          struct store_settings *s, GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *ours = s->source ? source_escape(s->source) : NULL;
	g_autofree char *theirs = NULL;
	g_auto(GStrv) our_mirrors = mirrors_escape(s);
	g_auto(GStrv) their_mirrors = NULL;
	guint64 format, shift;
	bool same, unchanged;

	if (!g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, NULL) ||
	    !settings_intact(file))
		return settings_damaged(error, store);
	format = g_key_file_get_uint64(file, GROUP, "format", NULL);
	if (format > STORE_FORMAT)
		return settings_too_new(error, store, format);
	theirs = g_key_file_get_string(file, GROUP, "source", NULL);
	shift = g_key_file_get_uint64(file, GROUP, "chunk_shift", NULL);
	if (format == 0 || theirs == NULL || shift < CHUNK_SHIFT_MIN || shift > CHUNK_SHIFT_MAX)
		return settings_damaged(error, store);
	their_mirrors = g_key_file_get_string_list(file, GROUP, "mirrors", NULL, NULL);
	same = g_strcmp0(theirs, ours) == 0;
	if (ours && !same && !has(their_mirrors, ours) && !has(our_mirrors, theirs)) {
		g_set_error(error, LOCAL_ERROR, EBUSY,
		            "store %s belongs to %s, not to %s; choose another --store", store,
		            theirs, ours);
		return false;
	}
	unchanged =
	        same && their_mirrors != NULL &&
	        g_strv_equal((const char *const *)their_mirrors, (const char *const *)our_mirrors);
	s->changed = s->mirrors != NULL && s->mirrors[0] != NULL && !unchanged;
	if (s->chunk_shift == 0)
		s->chunk_shift = shift;
	return true;
}

/* Durable, and visible only if complete. */
static int settings_write(int state, const char *name, const char *text, size_t length)
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
	if (err == 0 && renameat(state, "settings.new", state, name) < 0)
		err = -errno;
	if (err)
		unlinkat(state, "settings.new", 0);
	else if (fsync(state) < 0)
		err = -errno;
	return err;
}

/* *text: caller frees, also on failure. */
static bool settings_read(int state, const char *name, const char *store, struct store_settings *s,
                          char **text, size_t *length, GError **error)
{
	int fd = openat(state, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;

	*text = NULL;
	if (fd < 0)
		return settings_fail(error, store, errno);
	*text = g_malloc(SETTINGS_MAX);
	n = read(fd, *text, SETTINGS_MAX);
	close(fd);
	if (n < 0)
		return settings_fail(error, store, errno);
	if (n == SETTINGS_MAX)
		return settings_damaged(error, store);
	*length = (size_t)n;
	return store_settings_parse(store, *text, *length, s, error);
}

bool store_settings_exist(int state)
{
	return faccessat(state, "settings", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	       faccessat(state, COPY, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_unusable(const GError *error)
{
	return g_error_matches(error, LOCAL_ERROR, EUCLEAN) ||
	       g_error_matches(error, LOCAL_ERROR, ENOENT) ||
	       g_error_matches(error, LOCAL_ERROR, ELOOP);
}

enum settings_state store_settings_look(int state, const char *store, GError **error)
{
	const char *const names[] = {"settings", COPY};
	enum settings_state found = SETTINGS_INTACT;

	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
		struct store_settings s = {0};
		g_autoptr(GError) cause = NULL;
		g_autofree char *text = NULL;
		size_t length;

		if (settings_read(state, names[n], store, &s, &text, &length, &cause) ||
		    !is_unusable(cause))
			continue;
		if (n == 0)
			g_propagate_error(error, g_steal_pointer(&cause));
		found = n == 0                     ? SETTINGS_FROM_COPY
		        : found == SETTINGS_INTACT ? SETTINGS_NO_COPY
		                                   : SETTINGS_LOST;
	}
	return found;
}

int store_settings_mend(int state)
{
	const char *const names[] = {"settings", COPY};
	struct store_settings any = {0};

	for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
		g_autofree char *text = NULL;
		size_t length;

		if (settings_read(state, names[n], "", &any, &text, &length, NULL))
			return settings_write(state, names[!n], text, length);
	}
	return -EUCLEAN;
}

/* An old copy would later restore an old source. Best effort: a full disk is no reason not to open.
 */
static void copy_mend(int state, const char *text, size_t length)
{
	struct store_settings any = {0};
	g_autofree char *copy = NULL;
	size_t there = 0;

	if (!settings_read(state, COPY, "", &any, &copy, &there, NULL) || there != length ||
	    memcmp(copy, text, length) != 0)
		settings_write(state, COPY, text, length);
}

bool store_settings_load(int state, const char *store, struct store_settings *s, GError **error)
{
	g_autoptr(GError) cause = NULL, other = NULL;
	g_autofree char *text = NULL, *copy = NULL;
	size_t length = 0, copy_length = 0;
	guint64 format;

	if (settings_read(state, "settings", store, s, &text, &length, &cause)) {
		copy_mend(state, text, length);
		return true;
	}
	if (!is_unusable(cause)) {
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	if (!settings_read(state, COPY, store, s, &copy, &copy_length, &other)) {
		/* the check of a newer format may cover more */
		format = format_of(text, length);
		if (format > STORE_FORMAT && format_of(copy, copy_length) == format)
			return settings_too_new(error, store, format);
		g_propagate_error(error, is_unusable(other) ? g_steal_pointer(&cause)
		                                            : g_steal_pointer(&other));
		return false;
	}
	g_warning("%s: its copy is used", cause->message);
	settings_write(state, "settings", copy, copy_length);
	return true;
}

bool store_settings_save(int state, const char *store, const struct store_settings *s,
                         GError **error)
{
	g_autoptr(GKeyFile) file = g_key_file_new();
	g_autofree char *source = source_escape(s->source);
	g_auto(GStrv) mirrors = mirrors_escape(s);
	g_autofree char *check = settings_check(STORE_FORMAT, source, s->chunk_shift, mirrors);
	g_autofree char *text = NULL;
	gsize length;
	int err;

	g_key_file_set_integer(file, GROUP, "format", STORE_FORMAT);
	g_key_file_set_string(file, GROUP, "source", source);
	if (mirrors[0] != NULL)
		g_key_file_set_string_list(file, GROUP, "mirrors", (const char *const *)mirrors,
		                           g_strv_length(mirrors));
	g_key_file_set_uint64(file, GROUP, "chunk_shift", s->chunk_shift);
	g_key_file_set_string(file, GROUP, "check", check);
	text = g_key_file_to_data(file, &length, NULL);
	err = settings_write(state, "settings", text, length);
	if (err == 0)
		settings_write(state, COPY, text, length); /* the next opening tries again */
	return err == 0 || settings_fail(error, store, -err);
}
