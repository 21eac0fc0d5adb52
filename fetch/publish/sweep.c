/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/sweep.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fetch/base/dirents.h"
#include "fetch/publish/output.h"
#include "fetch/publish/version.h"

struct sweeping {
	int folder, objects; /* borrowed; owned, -1: there are none */
	const char *path;
	struct digest current;
	int64_t before_ns;
	GPtrArray *versions, *packs; /* char *, owned: names of what goes */
	GHashTable *used;            /* struct digest *, owned: packs that stay */
	struct sweep_result result;
};

static bool fail(const struct sweeping *s, const char *name, GError **error)
{
	int code = errno;
	g_set_error(error, LOCAL_ERROR, code, "%s/%s: %s", s->path, name, g_strerror(code));
	return false;
}

static guint id_hash(gconstpointer id)
{
	guint hash;
	memcpy(&hash, id, sizeof(hash));
	return hash;
}

static gboolean id_equal(gconstpointer a, gconstpointer b)
{
	return digest_equal(a, b);
}

static bool id_parse(const char *text, struct digest *out)
{
	return strlen(text) == 2 * DIGEST_SIZE && digest_parse(text, out);
}

/* Of index-<root> and head-<root>. */
static bool root_of(const char *name, struct digest *out)
{
	return (g_str_has_prefix(name, "index-") && id_parse(name + strlen("index-"), out)) ||
	       (g_str_has_prefix(name, "head-") && id_parse(name + strlen("head-"), out));
}

/* ---- what stays ---- */

/* Takes `x`. */
static bool packs_use(struct sweeping *s, struct index *x, GError **error)
{
	struct index_pack p;
	bool ok = x != NULL && index_verify(x, error);
	for (uint32_t n = 0; ok && n < index_tail(x)->object_count; n++) {
		ok = index_pack(x, n, &p, error);
		if (ok)
			g_hash_table_add(s->used, g_memdup2(&p.id, sizeof(p.id)));
	}
	index_unref(x);
	return ok;
}

static bool current_read(struct sweeping *s, GError **error)
{
	struct head head;
	struct index *x = version_open(s->path, &head, error);
	if (x != NULL)
		s->current = head.root;
	return packs_use(s, x, error);
}

static bool version_stays(struct sweeping *s, const char *name, const struct digest *root,
                          GError **error)
{
	s->result.kept++;
	if (!g_str_has_prefix(name, "index-"))
		return true;
	g_autofree char *path = g_build_filename(s->path, name, NULL);
	int fd = openat(s->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 ? packs_use(s, index_open(fd, path, root, error), error)
	               : fail(s, name, error);
}

/* ---- what goes ---- */

/* *old: a regular file, and older than the grace time. */
static bool age_look(struct sweeping *s, int dir, const char *name, bool *regular, bool *old,
                     GError **error)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(s, name, error);
	*regular = S_ISREG(st.st_mode);
	*old = *regular &&
	       st.st_ctim.tv_sec * INT64_C(1000000000) + st.st_ctim.tv_nsec < s->before_ns;
	return true;
}

static bool version_look(struct sweeping *s, const char *name, GError **error)
{
	struct digest root;
	bool regular, old;
	if (!root_of(name, &root) || digest_equal(&root, &s->current))
		return true;
	if (!age_look(s, s->folder, name, &regular, &old, error))
		return false;
	if (old)
		g_ptr_array_add(s->versions, g_strdup(name));
	return old || !regular || version_stays(s, name, &root, error);
}

static bool pack_look(struct sweeping *s, const char *name, GError **error)
{
	struct digest id;
	bool regular, old;
	if (!id_parse(name, &id) || g_hash_table_contains(s->used, &id))
		return true;
	if (!age_look(s, s->objects, name, &regular, &old, error))
		return false;
	if (old)
		g_ptr_array_add(s->packs, g_strdup(name));
	s->result.kept += regular && !old;
	return true;
}

static bool names_look(struct sweeping *s, int dir,
                       bool (*look)(struct sweeping *, const char *, GError **), GError **error)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), more;
	if (copy < 0)
		return fail(s, "", error);
	struct dirents *dirents = dirents_new(copy);
	struct dirent *e;
	bool ok = true;
	while (ok && (more = dirents_next(dirents, &e)) > 0)
		ok = look(s, e->d_name, error);
	dirents_free(dirents);
	if (!ok)
		return false;
	errno = -more;
	return more == 0 || fail(s, "", error);
}

static bool packs_look(struct sweeping *s, GError **error)
{
	s->objects = openat(s->folder, "objects", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->objects < 0)
		return errno == ENOENT || fail(s, "objects", error);
	return names_look(s, s->objects, pack_look, error);
}

static bool remove_all(struct sweeping *s, int dir, const GPtrArray *names, GError **error)
{
	for (guint n = 0; n < names->len; n++) {
		const char *name = names->pdata[n];
		struct stat st = {0};
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || unlinkat(dir, name, 0) < 0)
			return fail(s, name, error);
		s->result.removed++;
		s->result.bytes += (uint64_t)st.st_size;
	}
	return true;
}

bool sweep(const char *directory, int64_t grace_s, struct sweep_result *out, GError **error)
{
	g_autofree char *path = g_build_filename(directory, INDEX_FOLDER, NULL);
	struct sweeping s = {.path = path,
	                     .objects = -1,
	                     .before_ns = (g_get_real_time() - grace_s * G_USEC_PER_SEC) * 1000};
	struct stat st;
	if (stat(path, &st) < 0) { /* output_open() would make it */
		g_set_error(error, LOCAL_ERROR, errno, "%s: %s", path, g_strerror(errno));
		return false;
	}
	struct output *output = output_open(directory, error);
	if (output == NULL)
		return false;
	s.folder = output_folder(output);
	s.versions = g_ptr_array_new_with_free_func(g_free);
	s.packs = g_ptr_array_new_with_free_func(g_free);
	s.used = g_hash_table_new_full(id_hash, id_equal, g_free, NULL);
	/* packs last: a version that stays has all of its own, whenever this ends */
	bool ok = current_read(&s, error) && names_look(&s, s.folder, version_look, error) &&
	          packs_look(&s, error) && remove_all(&s, s.folder, s.versions, error) &&
	          remove_all(&s, s.objects, s.packs, error);
	if (s.objects >= 0)
		close(s.objects);
	g_hash_table_unref(s.used);
	g_ptr_array_unref(s.versions);
	g_ptr_array_unref(s.packs);
	output_close(output);
	if (ok)
		*out = s.result;
	return ok;
}
