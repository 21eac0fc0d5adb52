/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/publish/xattr_pool.h"
#include <endian.h>
#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include "fetch/index/format.h"

#define SHARED_MAX 1024u         /* bytes of an entry */
#define BODY_MAX (4 * 65535 + 8) /* i_xattr_icount has 16 bits */
#define SHARED_COUNT_MAX 255u

struct xattr_pool {
	GByteArray *area;   /* owned */
	GHashTable *known;  /* GBytes: an entry, owned → its number in the area, in units of 4 */
	GByteArray *entry;  /* owned; the one being made */
	char *list, *value; /* owned */
};

struct xattr_pool *xattr_pool_new(void)
{
	struct xattr_pool *p = g_new0(struct xattr_pool, 1);
	p->area = g_byte_array_new();
	p->entry = g_byte_array_new();
	p->known = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref,
	                                 NULL);
	p->list = g_malloc(XATTR_LIST_MAX + 1);
	p->value = g_malloc(XATTR_SIZE_MAX);
	return p;
}

void xattr_pool_free(struct xattr_pool *p)
{
	if (p == NULL)
		return;
	g_byte_array_unref(p->area);
	g_byte_array_unref(p->entry);
	g_hash_table_unref(p->known);
	g_free(p->list);
	g_free(p->value);
	g_free(p);
}

const GByteArray *xattr_pool_area(const struct xattr_pool *p)
{
	return p->area;
}

/* The prefix of a name that is kept, 0: it is not. *rest: what follows it. */
static unsigned prefix_of(const char *name, const char **rest)
{
	static const struct {
		const char *prefix;
		enum erofs_prefix number;
	} kept[] = {
	        {"user.", EROFS_XATTR_USER},
	        {"system.posix_acl_access", EROFS_XATTR_ACL_ACCESS},
	        {"system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT},
	        {"trusted.", EROFS_XATTR_TRUSTED},
	        {"security.", EROFS_XATTR_SECURITY},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
		size_t length = strlen(kept[i].prefix);
		bool whole = kept[i].prefix[length - 1] != '.';
		*rest = name + length;
		if (strncmp(name, kept[i].prefix, length) == 0 && whole == (name[length] == '\0'))
			return kept[i].number;
	}
	return 0;
}

static void entry_make(GByteArray *e, unsigned prefix, const char *name, const void *value,
                       size_t size)
{
	struct erofs_xattr head = {
	        .name_length = (uint8_t)strlen(name),
	        .prefix = (uint8_t)prefix,
	        .value_size = htole16((uint16_t)size),
	};
	g_byte_array_set_size(e, 0);
	g_byte_array_append(e, (const uint8_t *)&head, sizeof(head));
	g_byte_array_append(e, (const uint8_t *)name, head.name_length);
	if (size > 0)
		g_byte_array_append(e, value, (unsigned)size);
	while (e->len % 4 != 0)
		g_byte_array_append(e, (const uint8_t *)"", 1);
}

/* *number: of the entry in the area; false: it is not shared. */
static bool entry_share(struct xattr_pool *p, uint32_t *number)
{
	gpointer found;
	g_autoptr(GBytes) key = g_bytes_new(p->entry->data, p->entry->len);
	if (g_hash_table_lookup_extended(p->known, key, NULL, &found)) {
		*number = GPOINTER_TO_UINT(found);
		return true;
	}
	if (p->entry->len > SHARED_MAX || g_hash_table_size(p->known) >= POOL_ENTRIES)
		return false;
	*number = p->area->len / 4;
	g_byte_array_append(p->area, p->entry->data, p->entry->len);
	g_hash_table_insert(p->known, g_bytes_ref(key), GUINT_TO_POINTER(*number));
	return true;
}

static bool fail(GError **error, const char *path, int code)
{
	g_set_error(error, LOCAL_ERROR, code, "%s: its extended attributes: %s", path,
	            g_strerror(code));
	return false;
}

/* Names in the order of their bytes: the same file gives the same index. */
static GPtrArray *names_sorted(char *list, ssize_t length)
{
	GPtrArray *names = g_ptr_array_new();
	for (char *n = list; n < list + length; n += strlen(n) + 1)
		g_ptr_array_add(names, n);
	for (guint i = 1; i < names->len; i++)
		for (guint k = i; k > 0 && strcmp(names->pdata[k - 1], names->pdata[k]) > 0; k--) {
			gpointer other = names->pdata[k];
			names->pdata[k] = names->pdata[k - 1];
			names->pdata[k - 1] = other;
		}
	return names;
}

static bool is_absent(int code)
{
	return code == ENODATA || code == EPERM || code == EACCES || code == ENOTSUP;
}

bool xattr_pool_body(struct xattr_pool *p, int fd, const char *name, const char *path,
                     GByteArray *body, GError **error)
{
	char way[NAME_MAX + 40];
	uint32_t shared[SHARED_COUNT_MAX];
	unsigned count = 0;
	snprintf(way, sizeof(way), "/proc/self/fd/%d/%s", fd, *name ? name : ".");
	g_byte_array_set_size(body, 0);
	ssize_t length = llistxattr(way, p->list, XATTR_LIST_MAX);
	if (length <= 0)
		return length == 0 || is_absent(errno) || fail(error, path, errno);
	p->list[length] = '\0';
	g_autoptr(GPtrArray) names = names_sorted(p->list, length);
	for (guint i = 0; i < names->len; i++) {
		const char *rest, *full = names->pdata[i];
		unsigned prefix = prefix_of(full, &rest);
		ssize_t size = prefix ? lgetxattr(way, full, p->value, XATTR_SIZE_MAX) : -1;
		if (prefix && size < 0 && !is_absent(errno))
			return fail(error, path, errno);
		if (!prefix || size < 0)
			continue;
		if (size > UINT16_MAX)
			return fail(error, path, E2BIG);
		entry_make(p->entry, prefix, rest, p->value, (size_t)size);
		if (count == SHARED_COUNT_MAX || !entry_share(p, &shared[count]))
			g_byte_array_append(body, p->entry->data, p->entry->len);
		else
			count++;
	}
	if (count == 0 && body->len == 0)
		return true;
	if (body->len + sizeof(struct erofs_xattr_body) + 4 * count > BODY_MAX)
		return fail(error, path, E2BIG);
	struct erofs_xattr_body head = {.shared = (uint8_t)count};
	for (unsigned i = count; i > 0; i--) {
		uint32_t number = htole32(shared[i - 1]);
		g_byte_array_prepend(body, (const uint8_t *)&number, sizeof(number));
	}
	g_byte_array_prepend(body, (const uint8_t *)&head, sizeof(head));
	return true;
}
