/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Extended attributes: shared ones first, then those in the inode's body. */
#include <string.h>
#include "fetch/index/index_private.h"

static const char *prefix_of(unsigned prefix)
{
	switch (prefix) {
	case EROFS_XATTR_USER:
		return "user.";
	case EROFS_XATTR_ACL_ACCESS:
		return "system.posix_acl_access";
	case EROFS_XATTR_ACL_DEFAULT:
		return "system.posix_acl_default";
	case EROFS_XATTR_TRUSTED:
		return "trusted.";
	case EROFS_XATTR_SECURITY:
		return "security.";
	default:
		return NULL;
	}
}

/* The entry at `at` of the image, which ends at `end` at the latest. *size: of it. */
static bool entry_take(struct index *x, const struct index_node *node, uint64_t at, uint64_t end,
                       uint64_t *size, index_xattr each, void *user, GError **error)
{
	char name[256];
	const struct erofs_xattr *e;
	if (end - at < sizeof(*e))
		return index_refuse(x, node->nid, error, "an xattr that is cut short");
	e = index_image_at(x, at, sizeof(*e), error);
	if (e == NULL)
		return false;
	uint64_t bytes = sizeof(*e) + e->name_length + le16toh(e->value_size);
	const char *prefix = prefix_of(e->prefix);
	if (prefix == NULL || bytes > end - at || strlen(prefix) + e->name_length > 255)
		return index_refuse(x, node->nid, error, "an xattr that no file can have");
	const char *data = index_image_at(x, at, bytes, error);
	if (data == NULL)
		return false;
	data += sizeof(*e);
	if (memchr(data, '\0', e->name_length) != NULL ||
	    (prefix[strlen(prefix) - 1] == '.') != (e->name_length > 0))
		return index_refuse(x, node->nid, error, "an xattr that no file can have");
	size_t length = g_strlcpy(name, prefix, sizeof(name));
	memcpy(name + length, data, e->name_length);
	name[length + e->name_length] = '\0';
	each(user, name, data + e->name_length, le16toh(e->value_size));
	*size = index_round(bytes, 4);
	return true;
}

bool index_xattrs(struct index *x, const struct index_node *node, index_xattr each, void *user,
                  GError **error)
{
	INDEX_USE(x);
	if (node->xattr_size == 0)
		return true;
	uint64_t at = (node->nid << EROFS_NID_SHIFT) + sizeof(struct erofs_inode);
	uint64_t end = at + node->xattr_size, size;
	const struct erofs_xattr_body *body = index_image_at(x, at, node->xattr_size, error);
	if (body == NULL)
		return false;
	if (sizeof(*body) + 4 * (uint64_t)body->shared > node->xattr_size)
		return index_refuse(x, node->nid, error, "more xattrs than it has room for");
	const uint32_t *ids = (const uint32_t *)(body + 1);
	for (unsigned i = 0; i < body->shared; i++) {
		uint64_t shared =
		        (uint64_t)x->xattr_block * EROFS_BLOCK + 4 * (uint64_t)le32toh(ids[i]);
		if (shared >= x->tail.image_size)
			return index_refuse(x, node->nid, error, "an xattr outside of the image");
		if (!entry_take(x, node, shared, x->tail.image_size, &size, each, user, error))
			return false;
	}
	for (at += sizeof(*body) + 4 * body->shared; at < end; at += size)
		if (!entry_take(x, node, at, end, &size, each, user, error))
			return false;
	return true;
}
