/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/hsm/hsm.h"

/* "/mnt" and "a/b", of a mount that shows the directory "/a" of it: "/mnt/b". */
static char *path_new(const struct connection *c, const char *path)
{
	size_t root = strcmp(c->root, "/") == 0 ? 0 : strlen(c->root);
	const char *below = path;
	char *out;
	if (root && strncmp(path, c->root + 1, root - 1) == 0 && path[root - 1] == '/')
		below = path + root;
	return asprintf(&out, "%s/%s", strcmp(c->point, "/") == 0 ? "" : c->point, below) < 0 ? NULL
	                                                                                      : out;
}

struct file *file_put_path(int fd, dev_t dev, ino_t ino, char *path)
{
	struct stat st;
	struct file *f = path ? calloc(1, sizeof(*f)) : NULL;
	if (!f || real()->fstat(fd, &st) != 0) {
		free(path);
		free(f);
		return NULL;
	}
	*f = (struct file){.refs = 2,
	                   .dev = dev,
	                   .ino = ino,
	                   .scratch_dev = st.st_dev,
	                   .scratch_ino = st.st_ino,
	                   .path = path};
	if (table_set(fd, (struct entry){.kind = ENTRY_FILE, .file = f}) == 0)
		return f;
	f->refs = 1;
	file_unref(f);
	return NULL;
}

struct file *file_put(const struct connection *c, const struct lacuna_request *r)
{
	struct file *f = file_put_path(r->fd, c->dev, r->ino, path_new(c, r->path));
	if (f)
		f->locked = r->operation == LACUNA_WRITE || r->operation == LACUNA_TRUNCATE ||
		            r->operation == LACUNA_ALLOCATE;
	return f;
}

void file_unref(struct file *f)
{
	if (--f->refs)
		return;
	free(f->path);
	free(f);
}

struct file *file_of(int fd)
{
	struct file *f = NULL;
	struct stat st;
	if (!table_knows(fd))
		return NULL;
	sigset_t before = hsm_lock();
	const struct entry *e = table_get(fd);
	if (e->kind == ENTRY_FILE) {
		/* It may have been closed unseen, by fclose(3) for one. */
		if (real()->fstat(fd, &st) == 0 && st.st_dev == e->file->scratch_dev &&
		    st.st_ino == e->file->scratch_ino) {
			f = e->file;
			f->refs++;
		} else {
			table_set(fd, (struct entry){.kind = ENTRY_NONE});
		}
	}
	hsm_unlock(&before);
	return f;
}

struct file *file_of_path(const char *path)
{
	int own = 0, of_thread = 0, short_form = 0, pid = -1;
	const char *number;
	if (!path || (strncmp(path, "/proc/", 6) != 0 && strncmp(path, "/dev/fd/", 8) != 0))
		return NULL;
	sscanf(path, "/proc/self/fd/%n", &own);
	sscanf(path, "/proc/thread-self/fd/%n", &of_thread);
	sscanf(path, "/dev/fd/%n", &short_form);
	int at = own + of_thread + short_form;
	if (at == 0 && (sscanf(path, "/proc/%d/fd/%n", &pid, &at) != 1 || pid != getpid()))
		return NULL;
	number = path + at;
	if (at == 0 || !*number || strspn(number, "0123456789") != strlen(number) ||
	    strlen(number) > 7)
		return NULL;
	return file_of(atoi(number));
}

static bool file_look(const struct file *f, struct stat *st)
{
	return real()->lstat(f->path, st) == 0 && st->st_dev == f->dev && st->st_ino == f->ino;
}

bool file_named(const struct file *f)
{
	struct stat st;
	return file_look(f, &st);
}

/* Blocks are those of the descriptor: handlers take them for the data supplied already. */
int file_stat(const struct file *f, int fd, struct stat *st)
{
	struct stat scratch = {.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_blksize = 4096};
	if (fd >= 0 && real()->fstat(fd, &scratch) != 0)
		return -errno;
	if (!file_look(f, st)) {
		*st = scratch;
		st->st_dev = f->dev;
		st->st_ino = f->ino;
		st->st_nlink = 0;
	}
	st->st_blocks = scratch.st_blocks;
	return 0;
}
