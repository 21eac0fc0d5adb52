/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The origins of kept objects. Each is a symlink, because making one is a single metadata
 * operation: its order among the others survives a machine crash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/path.h"
#include "fetch/store/disk/shard.h"
#include "fetch/store/object/object_private.h"

#define INO_DIGITS 16
#define CHECK_DIGITS 8
/* Of one symlink: XFS takes 1023 bytes. */
#define PIECE 960
#define ORIGIN_PATH_MAX 65535u /* what the daemon keeps in one block (fuse/base/arena.h) */
#define PIECE_PATH_MAX (SHARD_PATH_MAX + 12)

/* Piece n of an origin; the last is followed by none. */
static void piece_path(uint64_t id, unsigned n, char path[PIECE_PATH_MAX])
{
	char shard[SHARD_PATH_MAX];

	shard_path("origins", id, shard);
	if (n == 0)
		g_strlcpy(path, shard, PIECE_PATH_MAX);
	else
		snprintf(path, PIECE_PATH_MAX, "%s.%u", shard, n);
}

static bool piece_is(struct store *s, const char *path, const char *text)
{
	char found[PIECE + 1];
	ssize_t length = readlinkat(s->state, path, found, sizeof found);

	return length == (ssize_t)strlen(text) && memcmp(found, text, (size_t)length) == 0;
}

/* A leftover of a crash gives way. */
static int piece_write(struct store *s, uint64_t id, unsigned n, const char *text)
{
	char path[PIECE_PATH_MAX];
	int err = 0;

	piece_path(id, n, path);
	if (symlinkat(text, s->state, path) == 0)
		return 0;
	if (errno == EEXIST) {
		if (piece_is(s, path, text))
			return 0;
		if (unlinkat(s->state, path, 0) < 0)
			return -errno;
		return symlinkat(text, s->state, path) < 0 ? -errno : 0;
	}
	if (errno == ENOENT) {
		err = shard_make(s->state, "origins", id);
		if (err == 0 && symlinkat(text, s->state, path) < 0)
			err = -errno;
	} else {
		err = -errno;
	}
	return err;
}

/* Hashes inode number and birth time: inode numbers are reused, and a leftover of a crash must not
 * apply to the next object of that number. */
int origin_key(int dir, const char *name, uint64_t *key)
{
	struct statx sx;
	uint64_t what[3]; /* no padding: it is hashed whole */

	if (statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &sx) < 0)
		return -errno;
	what[0] = sx.stx_ino;
	what[1] = sx.stx_mask & STATX_BTIME ? (uint64_t)sx.stx_btime.tv_sec : 0;
	what[2] = sx.stx_mask & STATX_BTIME ? sx.stx_btime.tv_nsec : 0;
	*key = XXH3_64bits(what, sizeof what);
	*key += *key == 0;
	return 0;
}

/* Binds the text to its object: a damaged one, or that of another object, names another file. */
static uint32_t origin_check(uint64_t id, uint64_t ino, const char *remote)
{
	g_autofree char *text = g_strdup_printf(
	        "%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x/%s", id, ino, remote);

	return (uint32_t)XXH3_64bits(text, strlen(text));
}

/* "INO.CHECK/PATH"; "INO/PATH" by earlier versions. */
static int origin_parse(uint64_t id, const char *text, uint64_t *ino, const char **remote)
{
	char *end;
	uint64_t number = g_ascii_strtoull(text, &end, 16);
	bool checked = end == text + INO_DIGITS && *end == '.';
	uint64_t check = checked ? g_ascii_strtoull(end + 1, &end, 16) : 0;
	size_t digits = INO_DIGITS + (checked ? 1 + CHECK_DIGITS : 0);

	if (end != text + digits || *end != '/' || number == 0 || !path_valid(end + 1) ||
	    (checked && check != origin_check(id, number, end + 1)))
		return -EUCLEAN;
	*ino = number;
	*remote = end + 1;
	return 0;
}

/* Writes the first piece last: without it the others have no effect. */
int origin_write(struct store *s, uint64_t id, uint64_t ino, const char *remote)
{
	g_autofree char *text = g_strdup_printf("%016" G_GINT64_MODIFIER "x.%08x/%s", ino,
	                                        origin_check(id, ino, remote), remote);
	size_t length = strlen(text);

	if (strlen(remote) > ORIGIN_PATH_MAX)
		return -ENAMETOOLONG;
	if (length % PIECE == 0) { /* no leftover may follow a full piece */
		char path[PIECE_PATH_MAX];

		piece_path(id, (unsigned)(length / PIECE), path);
		if (unlinkat(s->state, path, 0) < 0 && errno != ENOENT)
			return -errno;
	}
	for (unsigned n = (unsigned)((length - 1) / PIECE);; n--) {
		g_autofree char *piece = g_strndup(text + (size_t)n * PIECE, PIECE);
		int err = piece_write(s, id, n, piece);

		if (err)
			return err;
		if (n == 0)
			return 0;
	}
}

static ssize_t piece_read(struct store *s, uint64_t id, unsigned n, char text[PIECE + 1])
{
	char path[PIECE_PATH_MAX];
	ssize_t length;

	piece_path(id, n, path);
	length = readlinkat(s->state, path, text, PIECE + 1);
	return length < 0       ? (errno == EINVAL ? -EUCLEAN : -errno)
	       : length > PIECE ? -EUCLEAN
	                        : length;
}

int origin_again(struct store *s, uint64_t id, uint64_t ino, const char *remote)
{
	char piece[PIECE + 1];

	return piece_read(s, id, 0, piece) == -ENOENT ? origin_write(s, id, ino, remote) : 0;
}

int origin_read(struct store *s, uint64_t id, uint64_t *ino, char **remote)
{
	g_autoptr(GString) text = g_string_new(NULL);
	char piece[PIECE + 1];
	const char *path;
	uint64_t number;
	ssize_t length = PIECE;

	for (unsigned n = 0; length == PIECE; n++) {
		length = piece_read(s, id, n, piece);
		if (n > 0 && length == -ENOENT)
			break;
		if (length < 0)
			return (int)length;
		g_string_append_len(text, piece, length);
	}
	int err = origin_parse(id, text->str, &number, &path);
	if (err)
		return err;
	if (strlen(path) > ORIGIN_PATH_MAX)
		return -ENAMETOOLONG;
	*ino = number;
	*remote = g_strdup(path);
	return 0;
}

void origin_remove(struct store *s, uint64_t id)
{
	char path[PIECE_PATH_MAX], text[PIECE + 1];
	ssize_t length = PIECE;

	for (unsigned n = 0; length == PIECE; n++) {
		length = piece_read(s, id, n, text);
		piece_path(id, n, path);
		if (length >= 0)
			unlinkat(s->state, path, 0);
	}
}
