/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* What a store finds on its disk: a file's record, its map, the store's settings. What is
 * taken is within bounds and says the same when it is written again. */
#include "fetch/store/disk/store_settings.h"
#include "fetch/store/object/mapfile.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void map_load(const struct record *r, const uint8_t *data, size_t size)
{
	static int fd = -1;
	bool doubt = size % 2, dirty = false;
	struct map m;

	if (fd < 0)
		fd = memfd_create("map", MFD_CLOEXEC);
	check(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	check(map_init(&m, record_chunks(r)) == 0);
	if (mapfile_load(fd, r, 1, doubt, &m, &dirty) == 0) {
		check(m.present + m.doubtful <= m.chunks && (doubt || m.doubtful == 0));
		check(map_is_full(&m) == (m.present == m.chunks));
		for (uint64_t k = 0; k < MIN(m.chunks, 4096); k++)
			check(!map_is_present(&m, k, k) || !map_is_doubtful(&m, k));
	}
	map_clear(&m);
}

/* The header with its checksum made to fit. */
static void map_check(const struct record *r, const uint8_t *data, size_t size)
{
	struct map_header h;

	check(!mapfile_check(data, MIN(size, sizeof h - 1), r));
	if (size < sizeof h)
		return;
	memcpy(&h, data, sizeof h);
	h.checksum = GUINT64_TO_LE(XXH3_64bits(&h, offsetof(struct map_header, checksum)));
	if (!mapfile_check(&h, sizeof h, r))
		return;
	check(GUINT64_FROM_LE(h.id) == r->id && GUINT64_FROM_LE(h.size) == r->size);
	check(h.chunk_shift == r->chunk_shift);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length = size > 0 ? MIN(data[0] % 80u, size - 1) : 0;
	struct store_settings settings = {.source = "http://host/tree"};
	struct record_disk again;
	struct record r;

	if (store_settings_parse("/store", (const char *)data, size, &settings, NULL))
		check(settings.chunk_shift >= CHUNK_SHIFT_MIN &&
		      settings.chunk_shift <= CHUNK_SHIFT_MAX);
	if (size == 0 || record_decode(data + 1, length, &r) != 0)
		return 0;
	check(record_encode(&r, &again) == length && memcmp(&again, data + 1, length) == 0);
	check(record_chunks(&r) <= CHUNKS_MAX);
	if (r.size > 0) {
		uint64_t last = record_chunks(&r) - 1;

		check(record_chunk_length(&r, last) > 0);
		check((last << r.chunk_shift) + record_chunk_length(&r, last) == r.size);
	}
	data += 1 + length;
	size -= 1 + length;
	map_check(&r, data, size);
	if (record_chunks(&r) < 1 << 20)
		map_load(&r, data, size);
	return 0;
}
