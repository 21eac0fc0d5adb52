/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Operations on the local file of a content. */
#include <errno.h>
#include "fetch/fill/fill_private.h"

source_version content_version(struct content *c)
{
	struct store_file *file = content_file(c);

	return file ? store_file_version(file) : 0;
}

int content_utimens(struct content *c, const struct timespec times[2])
{
	struct store_file *file = content_file(c);

	return file ? store_file_utimens(file, times) : -EINVAL;
}

int content_localise(struct content *c, bool durable)
{
	struct store_file *file = content_file(c);

	return file ? store_file_localise(file, durable) : -EINVAL;
}

bool content_lacks(struct content *c, uint64_t offset, uint64_t length, uint64_t *from,
                   uint64_t *count)
{
	struct store_file *file = content_file(c);

	return file && store_file_lacks(file, offset, length, from, count);
}

int64_t content_change(struct content *c, uint64_t offset, uint64_t length, store_change change,
                       void *user)
{
	struct store_file *file = content_file(c);
	int64_t n = file ? store_file_change(file, offset, length, change, user) : -EINVAL;

	if (n >= 0)
		content_check_complete(c);
	return n;
}

int content_truncate(struct content *c, uint64_t size)
{
	struct store_file *file = content_file(c);
	int err = file ? store_file_truncate(file, size) : -EINVAL;

	if (err == 0)
		content_check_complete(c);
	return err;
}

int content_sync(struct content *c, bool datasync)
{
	struct store_file *file = content_file(c);

	return file ? store_file_sync(file, datasync) : 0;
}

bool content_shared(struct content *c)
{
	struct store_file *file = content_file(c);

	return file && (store_file_shared(file) || store_file_visited(file));
}

uint64_t content_number(struct content *c)
{
	struct store_file *file = content_file(c);

	return file ? store_file_number(file) : 0;
}

int content_evict(struct content *c, uint64_t *freed)
{
	struct store_file *file = content_file(c);
	int err = file ? store_file_evict(file, freed) : 0;

	fill_lock(c->fill);
	c->completed = content_complete(c);
	fill_unlock(c->fill);
	return err;
}

bool content_local(struct content *c)
{
	struct store_file *file = content_file(c);

	return file && store_file_local(file);
}
