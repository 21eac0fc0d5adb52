/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The xattrs of a remote object, on its local one. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "fetch/store/object/object_private.h"

bool xattr_is_own(const char *name)
{
	return g_str_has_prefix(name, RECORD_XATTR) &&
	       (name[sizeof RECORD_XATTR - 1] == '\0' || name[sizeof RECORD_XATTR - 1] == '.');
}

bool xattr_is_rooted(const char *name)
{
	return g_str_has_prefix(name, "security.") || g_str_has_prefix(name, "trusted.");
}

char *xattr_hidden(const char *name)
{
	return strcmp(name, "security.capability") == 0 ? g_strdup(CAPABILITY_XATTR)
	                                                : g_strconcat(HIDDEN_XATTR, name, NULL);
}

/* More bytes of xattrs than this may exceed the space for one file, which is reported as a full
 * file system: ext4 has one block. */
#define XATTRS_SURE 2048

static char *xattr_kept_as(struct store *s, const char *name, bool regular)
{
	bool hidden = (regular && strcmp(name, "security.capability") == 0) ||
	              (!s->privileged && xattr_is_rooted(name));

	return hidden ? xattr_hidden(name) : g_strdup(name);
}

/* An ACL comes last: it may leave the daemon no access. */
int xattrs_give(struct store *s, int fd, const struct store_kept *k)
{
	const struct listing_entry *e = k->listing ? listing_at(k->listing, k->index) : NULL;
	size_t length = 0, size, sum = 0;
	const char *names = e ? listing_xattr_names(k->listing, e, &length) : NULL;
	bool regular = e && S_ISREG(e->mode);

	for (size_t at = 0; names && at < 2 * length; at += strlen(names + at % length) + 1) {
		const char *name = names + at % length;
		const void *value = listing_xattr(k->listing, e, name, &size);
		g_autofree char *as = xattr_kept_as(s, name, regular);

		if (value == NULL || xattr_is_own(name) ||
		    (strcmp(name, ACL_XATTR) == 0) != (at >= length))
			continue;
		sum += size + strlen(as);
		if (fsetxattr(fd, as, value, size, 0) == 0)
			continue;
		if (errno == EROFS || errno == EDQUOT || errno == EIO || errno == ENOMEM ||
		    (errno == ENOSPC && sum <= XATTRS_SURE))
			return -errno;
		g_message("%s: xattr %s cannot be copied to the local file: %s", k->remote, name,
		          g_strerror(errno));
	}
	return 0;
}
