/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A kept listing with its checksum made to fit: what is taken can be read whole, and a
 * refresh that finds everything as it was changes nothing. */
#include "fetch/base/listing_private.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void check(bool true_or_abort)
{
	if (!true_or_abort)
		abort();
}

static void entry_add(struct listing_builder *b, const struct listing *l,
                      const struct listing_entry *e)
{
	size_t names_size = 0;
	const char *names = listing_xattr_names(l, e, &names_size);
	g_autoptr(GPtrArray) name = g_ptr_array_new(), value = g_ptr_array_new();
	g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(size_t));
	for (const char *n = names; n < names + names_size; n += strlen(n) + 1) {
		size_t size = 0;
		const void *v = listing_xattr(l, e, n, &size);
		check(v != NULL);
		g_ptr_array_add(name, (void *)n);
		g_ptr_array_add(value, (void *)v);
		g_array_append_val(sizes, size);
	}
	g_autoptr(GBytes) xattrs = listing_xattrs_pack(name->len, (const char **)name->pdata,
	                                               (const void *const *)value->pdata,
	                                               (size_t *)(void *)sizes->data);
	check((xattrs == NULL) == (name->len == 0));
	check(listing_builder_add(b, listing_name(l, e), e->name_len, e, listing_target(l, e),
	                          xattrs, NULL));
}

static void listing_check(struct listing *l)
{
	struct listing_builder *b = listing_builder_new();
	for (uint32_t i = 0; i < listing_count(l); i++) {
		const struct listing_entry *e = listing_at(l, i);
		uint32_t index;
		check(listing_find(l, listing_name(l, e), &index) && index == i);
		check(listing_after(l, e->cookie) == i + 1);
		entry_add(b, l, e);
	}
	struct listing *next = listing_builder_finish(b, listing_validator(l), 1, l);
	check(next != NULL && listing_count(next) == listing_count(l));
	bool renumbered = l->header->last_cookie >= UINT32_MAX - listing_count(l);
	for (uint32_t i = 0; i < listing_count(l); i++) {
		check(strcmp(listing_name(l, listing_at(l, i)),
		             listing_name(next, listing_at(next, i))) == 0);
		check(renumbered || listing_at(l, i)->cookie == listing_at(next, i)->cookie);
	}
	g_autoptr(GBytes) bytes = listing_to_bytes(next);
	struct listing *again = listing_from_bytes(bytes, NULL);
	check(again != NULL && strcmp(listing_validator(again), listing_validator(l)) == 0);
	listing_unref(again);
	listing_unref(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree uint8_t *blob = g_memdup2(data, size);
	if (size >= sizeof(struct listing_header)) {
		struct listing_header *h = (struct listing_header *)blob;
		h->length = size;
		h->checksum =
		        XXH3_64bits(&h->length, size - offsetof(struct listing_header, length));
	}
	g_autoptr(GBytes) bytes = g_bytes_new(blob, size);
	struct listing *l = listing_from_bytes(bytes, NULL);
	if (l != NULL) {
		listing_check(l);
		listing_unref(l);
	}
	return 0;
}
