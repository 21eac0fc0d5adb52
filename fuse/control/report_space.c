/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/control/report_space.h"
#include <fcntl.h>
#include <sys/stat.h>
#include "fetch/store/disk/pins.h"
#include "fetch/store/disk/space.h"
#include "fuse/base/json.h"
#include "fuse/inode/handle.h"
#include "fuse/inode/server.h"
#include "fuse/evict/evictor.h"

/* What open files hold, by their local files. */
static uint64_t open_bytes(struct server *s)
{
	GHashTable *paths = handle_table_paths(s->handles, s);
	GHashTableIter iter;
	gpointer path;
	struct stat st;
	uint64_t sum = 0;
	g_hash_table_iter_init(&iter, paths);
	while (g_hash_table_iter_next(&iter, &path, NULL))
		if (*(const char *)path != '/' &&
		    fstatat(store_root_fd(s->store), path, &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	g_hash_table_unref(paths);
	return sum;
}

static void add_kept(const struct evictor_info *info, JsonBuilder *b)
{
	json_builder_set_member_name(b, "kept");
	json_builder_begin_object(b);
	json_add_int(b, "in_use", info->in_use);
	json_add_int(b, "pinned", info->pinned);
	json_add_int(b, "sealed", info->sealed);
	json_add_int(b, "unconfirmed", info->unconfirmed);
	json_builder_end_object(b);
}

void report_space(struct server *s, JsonBuilder *b)
{
	struct space_look look = {0};
	struct space_use use;
	struct evictor_info info = {0};
	store_space_look(s->store, &look);
	store_space_use(s->store, &use);
	if (s->evictor)
		evictor_info(s->evictor, &info);
	json_builder_set_member_name(b, "space");
	json_builder_begin_object(b);
	json_add_int(b, "used_bytes", use.used);
	json_add_int(b, "fetched_bytes", use.fetched);
	json_add_bool(b, "measured", use.known);
	json_add_int(b, "open_bytes", open_bytes(s));
	json_add_int(b, "quota_bytes", look.quota);
	json_add_int(b, "min_free_bytes", look.floor);
	json_add_int(b, "pins", store_pins(s->store));
	json_add_int(b, "evicted_files", info.files);
	json_add_int(b, "evicted_bytes", info.bytes);
	json_add_int(b, "rounds", info.rounds);
	json_add_int(b, "failed_rounds", info.failed_rounds);
	add_kept(&info, b);
	json_builder_end_object(b);
}
