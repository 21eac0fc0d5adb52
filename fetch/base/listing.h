/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The entries of one remote directory, as reported by a source.
 * Shape:   one flat blob (the same in memory and in the store): header, entries
 *          in order of cookie, an index by name, then names, link targets,
 *          xattrs and the validator
 * Units:   sizes in bytes; times in ns since 1970 UTC
 * Owns:    its blob; reference counted (atomic)
 * Locking: immutable, except the members that listing_resolve() sets (size, mtime, flags of
 *          one entry); the directory that holds it serialises that against
 *          listing_get(), which returns a copy
 * Errors:  bool + GError (FETCH_PROTOCOL); outputs untouched on failure
 * Trust:   names come from outside: listing_builder_add() refuses empty, ".",
 *          "..", '/', NUL, > 255 bytes; other names pass unchanged (a POSIX name is
 *          bytes; index.c refuses names that an index page must not contain). Of duplicate
 *          names the first stays. A blob from disk is checked completely (checksum, bounds,
 *          order) before use.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum listing_flags {
	LISTING_SIZE_EXACT = 1,  /* size is the exact number of bytes */
	LISTING_MTIME_KNOWN = 2, /* mtime_ns comes from the source */
	LISTING_RESOLVED = 4,    /* attributes come from a request of their own (HEAD) */
	LISTING_DIRECTORY = 8,   /* listed as a file, later found to be a directory */
};

struct listing_entry {
	uint64_t ino;  /* hash of the remote identity: st_ino; never 0 */
	uint64_t size; /* best guess where not LISTING_SIZE_EXACT */
	int64_t mtime_ns;
	uint64_t listed_hash; /* private: hash of size and mtime as the source listed them */
	uint32_t cookie;      /* > 0, rising, stable across refreshes: readdir offset */
	uint32_t mode;        /* S_IFMT | permissions */
	uint32_t uid, gid;
	uint32_t nlink;
	uint32_t rdev;       /* Linux's 32-bit encoding: (major << 20) | minor */
	uint32_t name_off;   /* offsets into the blob; a NUL follows the bytes */
	uint32_t target_off; /* symlink's target, 0 = none */
	uint32_t xattr_off;  /* 0 = none, else see listing_xattrs() */
	uint16_t name_len;
	uint16_t flags; /* enum listing_flags */
};

struct listing;

struct listing *listing_ref(struct listing *l);
void listing_unref(struct listing *l);

uint32_t listing_count(const struct listing *l);
const struct listing_entry *listing_at(const struct listing *l, uint32_t index);
const char *listing_name(const struct listing *l, const struct listing_entry *e);
const char *listing_target(const struct listing *l, const struct listing_entry *e);
bool listing_find(const struct listing *l, const char *name, uint32_t *index);
/* Index of the first entry whose cookie is > `cookie`; listing_count() at the end. */
uint32_t listing_after(const struct listing *l, uint32_t cookie);
/* The validator for a conditional request; "" where there is none. */
const char *listing_validator(const struct listing *l);
/* When the source last confirmed the listing: ns since 1970. Updated by "not modified". */
int64_t listing_checked(const struct listing *l);
void listing_set_checked(struct listing *l, int64_t now_ns);
/* The value of xattr `name` (borrowed), NULL where there is none; and all names,
 * NUL-separated as listxattr(2) gives them. */
const void *listing_xattr(const struct listing *l, const struct listing_entry *e, const char *name,
                          size_t *size);
const char *listing_xattr_names(const struct listing *l, const struct listing_entry *e,
                                size_t *size);
/* Exact attributes of one entry arrived. */
void listing_resolve(struct listing *l, uint32_t index, uint64_t size, bool mtime_known,
                     int64_t mtime_ns);

/* A copy, in which entry `index` is a directory. NULL: no memory. */
struct listing *listing_with_directory(struct listing *l, uint32_t index, uint32_t permissions);
/* A copy, in which entry `index`, marked LISTING_DIRECTORY, is a file again, with the attributes
 * of the source's listing only. */
struct listing *listing_with_file(struct listing *l, uint32_t index, uint32_t permissions);

/* The xattrs of one entry, for listing_builder_add(). NULL: none, or beyond Linux's limits. */
GBytes *listing_xattrs_pack(unsigned count, const char *const *names, const void *const *values,
                            const size_t *sizes);

/* The resolved attributes of this entry belong to an older version: its size and mtime are
 * guesses again. No-op where they are the listing's own. */
void listing_unresolve(struct listing *l, uint32_t index);

struct listing_builder;
struct listing_builder *listing_builder_new(void);
void listing_builder_free(struct listing_builder *b);
/* `e`: all but cookie, listed_hash and the *_off/name_len fields. `target`: symlinks only.
 * `xattrs`: GVariant-free flat form made by listing_xattrs_pack(), or NULL.
 * false: the name was refused (FETCH_PROTOCOL gives the reason) and the builder stays usable, or
 * the listing would exceed 2 GiB (LOCAL_ERROR EFBIG) and finish will return NULL. */
bool listing_builder_add(struct listing_builder *b, const char *name, size_t name_len,
                         const struct listing_entry *e, const char *target, GBytes *xattrs,
                         GError **error);
/* Bytes that the builder has allocated; `finish`: plus those that finishing it will allocate. */
uint64_t listing_builder_memory(const struct listing_builder *b, bool finish);
/* Gives every entry so far the ino that `identify` makes of its name. */
void listing_builder_identify(struct listing_builder *b,
                              uint64_t (*identify)(const char *name, size_t name_len, void *user),
                              void *user);
/* Frees the builder. `previous` (may be NULL): surviving names keep their cookie,
 * and their resolved attributes if the source lists them unchanged; a name whose ino or
 * type changed is new. A cookie is never reused. NULL: too large, no memory. */
struct listing *listing_builder_finish(struct listing_builder *b, const char *validator,
                                       int64_t checked_ns, const struct listing *previous);

/* To and from the store; an invalid blob is refused. */
GBytes *listing_to_bytes(struct listing *l);
/* Why such bytes are no listing, or damaged (static); NULL: their lengths and checksum are right.
 */
const char *listing_refused(const void *data, size_t size);
struct listing *listing_from_bytes(GBytes *bytes, GError **error);
