/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/cli/batch.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "fetch/base/error.h"
#include "fuse/base/jsontext.h"
#include "fuse/base/mounts.h"
#include "fuse/cli/client.h"

enum { BATCH_MAX = 1024 };

struct batch {
	const struct batch_ops *ops;
	void *user;
	const struct mount *mount; /* borrowed */
	GArray *fds;               /* int, O_PATH */
	GArray *inos;              /* uint64_t, in the order of the walk */
	GHashTable *paths;         /* uint64_t ino → path, borrowed; those not answered yet */
};

/* Files per batch: as many as descriptors allow, up to the user's hard limit. */
static unsigned batch_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 64;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > BATCH_MAX + 64 ? BATCH_MAX : (unsigned)MAX(limit.rlim_cur / 2, 1);
}

static void batch_init(struct batch *b, const struct batch_ops *ops, void *user, GPtrArray *mounts,
                       dev_t dev)
{
	*b = (struct batch){
	        .ops = ops,
	        .user = user,
	        .mount = mounts_of_device(mounts, major(dev), minor(dev)),
	        .fds = g_array_new(FALSE, FALSE, sizeof(int)),
	        .inos = g_array_new(FALSE, FALSE, sizeof(uint64_t)),
	        .paths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
	};
}

static void batch_clear(struct batch *b)
{
	for (unsigned i = 0; i < b->fds->len; i++)
		close(g_array_index(b->fds, int, i));
	g_array_unref(b->fds);
	g_array_unref(b->inos);
	g_hash_table_unref(b->paths);
}

static void batch_add(struct batch *b, const char *path, dev_t dev, mode_t type)
{
	struct stat st;
	int fd = b->mount ? open(path, O_PATH | O_CLOEXEC) : -1;
	if (!b->mount) {
		b->ops->failed(b->user, path, "not in a lacunafs mount");
		return;
	}
	if (fd < 0 || fstat(fd, &st) != 0) {
		b->ops->failed(b->user, path, g_strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	if (st.st_dev != dev || (st.st_mode & S_IFMT) != type) {
		b->ops->failed(b->user, path, "changed during the walk");
		close(fd);
		return;
	}
	guint64 *ino = g_new(guint64, 1);
	*ino = st.st_ino;
	g_array_append_val(b->fds, fd);
	g_array_append_val(b->inos, *ino);
	g_hash_table_insert(b->paths, ino, (char *)path);
}

static JsonBuilder *batch_request(const struct batch *batch)
{
	JsonBuilder *b = json_builder_new();
	json_builder_begin_object(b);
	json_builder_set_member_name(b, "verb");
	json_builder_add_string_value(b, batch->ops->verb);
	json_builder_set_member_name(b, "ino");
	json_builder_begin_array(b);
	for (unsigned i = 0; i < batch->inos->len; i++) {
		char ino[24];
		g_snprintf(ino, sizeof(ino), "%" G_GUINT64_FORMAT,
		           g_array_index(batch->inos, guint64, i));
		json_builder_add_string_value(b, ino);
	}
	json_builder_end_array(b);
	json_builder_end_object(b);
	return b;
}

static void answer_take(struct batch *b, JsonObject *answer)
{
	const char *path = NULL;
	uint64_t ino;
	if (json_ino(json_object_get_member(answer, "ino"), &ino)) {
		guint64 key = ino;
		path = g_hash_table_lookup(b->paths, &key);
		g_hash_table_remove(b->paths, &key);
	}
	b->ops->answered(b->user, path, answer);
}

static bool batch_receive(struct batch *b, struct client *c, GError **error)
{
	JsonObject *answer = NULL;
	GError *cause = NULL;
	while (b->ops->goes_on(b->user)) {
		if (!client_receive(c, CLIENT_TIMEOUT_MS, &answer, &cause)) {
			if (g_error_matches(cause, LOCAL_ERROR, EINTR)) {
				g_clear_error(&cause); /* stopped and continued, or a signal */
				continue;
			}
			g_propagate_error(error, cause);
			return false;
		}
		if (!answer)
			return true;
		answer_take(b, answer);
		json_object_unref(answer);
	}
	return true;
}

static bool batch_ask(struct batch *b)
{
	GHashTableIter iter;
	gpointer path;
	g_autoptr(GError) error = NULL;
	if (g_hash_table_size(b->paths) == 0)
		return false;
	if (b->ops->begins)
		b->ops->begins(b->user);
	struct client *c = client_open(b->mount, &error);
	if (c && client_send(c, batch_request(b), &error))
		batch_receive(b, c, &error);
	client_close(c);
	if (!b->ops->goes_on(b->user))
		return true;
	g_hash_table_iter_init(&iter, b->paths);
	while (g_hash_table_iter_next(&iter, NULL, &path))
		b->ops->failed(b->user, path,
		               error ? error->message : "the daemon did not answer for it");
	return true;
}

bool batch_run(const struct filelist *list, GPtrArray *mounts, const struct batch_ops *ops,
               void *user)
{
	unsigned limit = batch_limit();
	bool asked = false;
	for (unsigned i = 0; i < list->entries->len && ops->goes_on(user);) {
		const struct filelist_entry *e =
		        &g_array_index(list->entries, struct filelist_entry, i);
		dev_t dev = e->dev;
		struct batch b;
		batch_init(&b, ops, user, mounts, dev);
		for (unsigned n = 0; n < limit && i < list->entries->len; n++, i++) {
			e = &g_array_index(list->entries, struct filelist_entry, i);
			if (e->dev != dev)
				break;
			batch_add(&b, e->path, dev, S_IFREG);
		}
		asked |= batch_ask(&b);
		batch_clear(&b);
	}
	return asked;
}

void batch_run_directory(const char *path, dev_t dev, ino_t ino, GPtrArray *mounts,
                         const struct batch_ops *ops, void *user)
{
	struct batch b;
	batch_init(&b, ops, user, mounts, dev);
	batch_add(&b, path, dev, S_IFDIR);
	batch_ask(&b);
	batch_clear(&b);
}
