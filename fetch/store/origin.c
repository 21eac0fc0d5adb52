/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Where what is kept came from. A symlink, because making one is a single metadata operation: it
 * keeps its order among the others when the machine fails. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include "fetch/path.h"
#include "fetch/store/shard.h"
#include "fetch/store/tree_private.h"

#define INO_DIGITS 16

int origin_write(struct store *s, uint64_t id, uint64_t ino, const char *remote)
{
	g_autofree char *text = g_strdup_printf("%016" G_GINT64_MODIFIER "x/%s", ino, remote);
	char path[SHARD_PATH_MAX];
	int err = 0;

	shard_path("origins", id, path);
	if (symlinkat(text, s->state, path) == 0)
		return 0;
	if (errno == ENOENT) {
		err = shard_make(s->state, "origins", id);
		if (err == 0 && symlinkat(text, s->state, path) < 0)
			err = -errno;
	} else {
		err = -errno;
	}
	return err == -EEXIST ? 0 : err; /* ids are not given out twice: it says the same */
}

int origin_read(struct store *s, uint64_t id, uint64_t *ino, char **remote)
{
	char path[SHARD_PATH_MAX], text[PATH_MAX + INO_DIGITS + 2], *end;
	uint64_t number;
	ssize_t n;

	shard_path("origins", id, path);
	n = readlinkat(s->state, path, text, sizeof text - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	number = g_ascii_strtoull(text, &end, 16);
	if (end != text + INO_DIGITS || *end != '/' || number == 0 || !path_valid(end + 1))
		return -ESTALE;
	*ino = number;
	*remote = g_strdup(end + 1);
	return 0;
}

void origin_remove(struct store *s, uint64_t id)
{
	shard_unlink(s->state, "origins", id);
}
