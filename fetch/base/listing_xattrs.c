/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/listing_private.h"
#include <linux/limits.h>
#include <string.h>

static uint32_t u32_at(const char *p)
{
	uint32_t value;
	memcpy(&value, p, sizeof value);
	return value;
}

static void u32_append(GByteArray *a, size_t value)
{
	uint32_t v = (uint32_t)value;
	g_byte_array_append(a, (const guint8 *)&v, sizeof v);
}

size_t listing_xattrs_check(const char *data, size_t size)
{
	if (size < 8)
		return 0;
	uint64_t end = u32_at(data) + UINT64_C(4), names = u32_at(data + 4);
	if (end > size || names == 0 || names > XATTR_LIST_MAX || 8 + names > end)
		return 0;
	uint64_t at = 8 + names;
	for (const char *name = data + 8; name < data + 8 + names;) {
		size_t left = data + 8 + names - name;
		size_t length = strnlen(name, left);
		if (length == 0 || length == left || length > XATTR_NAME_MAX || end - at < 4)
			return 0;
		uint32_t value = u32_at(data + at);
		if (value > XATTR_SIZE_MAX || value > end - at - 4)
			return 0;
		at += 4 + value;
		name += length + 1;
	}
	return at == end ? end : 0;
}

GBytes *listing_xattrs_pack(unsigned count, const char *const *names, const void *const *values,
                            const size_t *sizes)
{
	size_t names_size = 0, total = 4;
	for (unsigned i = 0; i < count; i++) {
		size_t length = strlen(names[i]);
		if (length == 0 || length > XATTR_NAME_MAX || sizes[i] > XATTR_SIZE_MAX)
			return NULL;
		names_size += length + 1;
		total += length + 1 + 4 + sizes[i];
		if (names_size > XATTR_LIST_MAX || total > INT32_MAX)
			return NULL;
	}
	if (count == 0)
		return NULL;
	GByteArray *flat = g_byte_array_sized_new(total + 4);
	u32_append(flat, total);
	u32_append(flat, names_size);
	for (unsigned i = 0; i < count; i++)
		g_byte_array_append(flat, (const guint8 *)names[i], strlen(names[i]) + 1);
	for (unsigned i = 0; i < count; i++) {
		u32_append(flat, sizes[i]);
		if (sizes[i] > 0)
			g_byte_array_append(flat, values[i], sizes[i]);
	}
	return g_byte_array_free_to_bytes(flat);
}

const char *listing_xattr_names(const struct listing *l, const struct listing_entry *e,
                                size_t *size)
{
	if (e->xattr_off == 0) {
		*size = 0;
		return "";
	}
	*size = u32_at(l->blob + e->xattr_off + 4);
	return l->blob + e->xattr_off + 8;
}

const void *listing_xattr(const struct listing *l, const struct listing_entry *e, const char *name,
                          size_t *size)
{
	size_t names_size = 0;
	const char *names = listing_xattr_names(l, e, &names_size);
	const char *value = names + names_size;
	for (const char *n = names; n < names + names_size; n += strlen(n) + 1) {
		uint32_t length = u32_at(value);
		if (strcmp(n, name) == 0) {
			*size = length;
			return value + 4;
		}
		value += 4 + length;
	}
	return NULL;
}
