/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The chunk states of a file that is being opened, from its record and its map. */
#include <errno.h>
#include "fetch/store/file/store_file_private.h"
#include "fetch/store/object/mapfile.h"

/* Data past the limit is local. If a crash interrupted a truncation, the limit follows the file's
 * size. */
static int file_load_limit(struct store_file *f, const struct found *found)
{
	uint64_t size = UINT64_C(1) << f->record.chunk_shift;
	int err;

	if (!(f->record.flags & RECORD_LIMIT))
		return 0;
	f->limit = MIN(f->record.remote_limit, (uint64_t)found->st.st_size);
	err = map_prepare_locals(&f->map);
	if (err == 0)
		map_own_from(&f->map, (f->limit + size - 1) / size);
	return err;
}

/* Creates an empty map: no chunk is present, but the file itself may be kept, with its name and
 * attributes. */
static int file_map_again(struct store_file *f)
{
	int err = epoch_begin(&f->store->epoch);

	f->map_fd = err ? err : mapfile_create(f->store->state, &f->record);
	err = MIN(f->map_fd, 0);
	f->map_fd = MAX(f->map_fd, -1);
	return err;
}

/* A map that is not the record's. It costs fetched data only, unless it may have told which chunks
 * are local: without it these must not be taken for remote ones. */
static int file_without_map(struct store_file *f, bool dead)
{
	bool changed = f->record.flags & RECORD_LIMIT;

	/* not durable, so neither was any local chunk */
	if (dead && mapfile_is_lost(f->store->state, &f->record))
		return file_map_again(f);
	if (changed)
		return -EUCLEAN;
	if (f->record.version == 0) /* no chunk was fetched yet */
		return 0;
	return f->record.flags & RECORD_KEPT ? file_map_again(f) : -ESTALE;
}

static int file_load_map(struct store_file *f, bool dead)
{
	bool dirty = false;
	int err, fd = mapfile_open(f->store->state, &f->record);

	if (fd == -ESTALE)
		return file_without_map(f, dead);
	if (fd < 0)
		return fd;
	f->map_fd = fd;
	err = mapfile_load(fd, &f->record, f->store->epoch.number, dead, &f->map, &dirty);
	return err == 0 && dirty ? dirty_enter(f) : err;
}

int file_load(struct store_file *f, const struct found *found)
{
	bool dead = record_is_dead(f->store, &f->record);
	int err = map_init(&f->map, record_chunks(&f->record));

	if (err)
		return err;
	f->outdated = dead;
	f->limit = f->record.size;
	f->named = 1;
	f->local = f->record.flags & RECORD_LOCAL;
	if (f->map.chunks == 0 || (!dead && (f->record.flags & RECORD_COMPLETE))) {
		map_fill(&f->map);
		f->settled = f->map.chunks;
		return 0;
	}
	if (f->map.chunks == 1) {
		if (f->record.hash && dead)
			return map_doubt(&f->map, 0);
		if (f->record.hash)
			map_set_present(&f->map, 0);
		f->settled = f->map.present;
		return 0;
	}
	err = file_load_map(f, dead);
	f->settled = f->map.present;
	if (err == -EUCLEAN)
		g_warning("the map of %s is damaged (state/maps), and local changes may be in the "
		          "file: it cannot be read until `lacunafs verify --repair` has repaired "
		          "the map",
		          f->path);
	return err ? err : file_load_limit(f, found);
}
