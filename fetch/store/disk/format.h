/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store on disk, format 1. Numbers are little-endian; names of numbers are 16 lower-case
 * hex digits, `xx` is the last two of them.
 *
 *   STORE/tree/…                 the local tree; remote files never accessed are not in it
 *   STORE/state/lock             locked (OFD) while a daemon has the store open; its pid in
 *                                decimal, then '-' while it is closing; xattr
 *                                user.lacuna.place = struct place_disk: the store's place
 *   STORE/state/settings         key file: [store] format=1, source=URL, chunk_shift=N.
 *                                Written last: without it there is no store
 *   STORE/state/epoch            struct epoch_disk
 *   STORE/state/dirs/xx/<ino>    a directory's listing (listing_private.h), by its st_ino
 *   STORE/state/maps/xx/<id>     struct map_header slot*chunks, of a file of several chunks
 *   STORE/state/dirty/xx/<id>    empty files: the map of that record may have chunks that are
 *                                dirty in this epoch
 *   STORE/state/links/xx/<ino>   hard link to the local file of a remote file with several
 *                                names, by its st_ino
 *   STORE/state/origins/xx/<id>  symlink "INO/PATH": st_ino (16 hex digits) and remote path of
 *                                a kept object, by the id of its record or mark; of an object
 *                                that can have neither, by inode number and birth time; a path
 *                                of 960 bytes continues in <id>.1, and so on
 *   STORE/state/gone/xx/<ino>/…  empty files: the remote names that are gone from a directory,
 *                                by its st_ino
 *   STORE/state/owners/xx/<id>   symlink "MODE:UID:GID" (octal, decimal) of an object that can
 *                                carry no xattr, where the daemon may not set them; by inode
 *                                number and birth time
 *   STORE/state/orphans/<n>      files set aside: found in the tree but not bound to their
 *                                records
 *   STORE/state/unlinked/<n>     files without a name, unlinked or not linked yet, that are in
 *                                use; emptied when the store is opened
 *   STORE/state/inode32          struct number_disk, in the order in which the numbers were
 *                                assigned; an incomplete last one is dropped. Missing: -o
 *                                inode32 was never given
 *   STORE/state/reserve          256 KiB of padding: room for removals on a full disk
 *   STORE/state/tmp/<n>          unfinished files; emptied when the store is opened
 *   STORE/state/log              the daemon's log
 *
 *   local file = sparse data, xattr user.lacuna = struct record_disk
 *   local directory, xattr user.lacuna = struct mark_disk
 *   local file, xattr user.lacuna.sealed = its seals
 *   local file, xattr user.lacuna.links = struct links_disk
 *   both, xattr user.lacuna.owner = struct owner_disk: attributes that the daemon may not set; as
 *                                root the set-id bits of files, which are never on the object
 *
 * A file without the xattr is plain local content, and so are objects other than files and
 * directories. RECORD_KEPT: the file takes precedence over the listing; otherwise it is a copy of
 * the listed file. A directory without a mark only contains other objects.
 *
 * A record is *bound* if its inode number is the file's, their sizes agree, and its map, if it has
 * one, repeats id, inode number, size, version and chunk size. A file that is not bound is never
 * read or written, but set aside. In a copy of the store, which has other inode numbers, the id
 * binds them: identity.h.
 *
 * Chunk i covers [i << chunk_shift, (i + 1) << chunk_shift) of the remote size. Its hash is
 * the XXH3-64 of its bytes, 1 where that is 0; 0 = absent. A hash is written after its data,
 * with no fsync: it is trusted only if the record's epoch is the store's. Otherwise the chunk
 * is doubtful: its local bytes must match the hash first. Once no chunk of a file is doubtful its
 * record gets the current epoch.
 *
 * A file of one chunk has no slot; its record has `hash` and RECORD_LOCAL instead. It
 * has no dirty state: its data is on the disk before the record says that it is local.
 *
 * mark: MARK_REMOTE, the chunk follows the remote; MARK_LOCAL, durably written locally, `hash` is
 * unused; else the epoch in which it was about to be written (dirty): in that epoch as
 * LOCAL, in a later one as REMOTE. A dirty mark is written before the bytes if the chunk was
 * present, and after them if it was absent: it never refers to missing bytes.
 * RECORD_LIMIT: the file was changed locally. `remote_limit` is valid, the lowest size
 * the file ever had: past it all data is local, and the local file's size may differ from `size`.
 * It is lowered after a truncation: the lower of file size and limit applies.
 * RECORD_LOCAL on a file with a map: all of it is local.
 *
 * epoch: the store is *clean* if a syncfs succeeded after the last change. The clean mark is
 * removed, durably, before the first change. A daemon that opens a clean store continues its
 * epoch, and that of an unclean one if the identity is the same (boot, mount of the store's file
 * system, write-back errors seen); else a new epoch begins. A damaged epoch file: a random
 * epoch. Epoch 0 is none.
 */
#pragma once
#include <glib.h>
#include <stdint.h>

#define STORE_FORMAT 1
#define CHUNK_SHIFT_MIN 12
#define CHUNK_SHIFT_MAX 24
/* 16 TiB in chunks of 64 KiB; a map of 4 GiB, bitmaps of 32 MiB */
#define CHUNKS_MAX (UINT64_C(1) << 28)

#define RECORD_XATTR "user.lacuna"

enum record_flags {
	RECORD_COMPLETE = 1, /* every chunk has its hash, and the mtime is set */
	RECORD_LIMIT = 2,
	RECORD_LOCAL = 8,
	RECORD_KEPT = 16,
};

struct record_disk {
	uint8_t format; /* STORE_FORMAT */
	uint8_t flags;
	uint8_t chunk_shift;
	uint8_t reserved; /* 0 */
	uint32_t epoch;
	uint64_t id;   /* random */
	uint64_t ino;  /* of the local file */
	uint64_t size; /* of the remote one */
	int64_t mtime_ns;
	uint64_t version;
	uint64_t hash;         /* of a single chunk, else 0 */
	uint64_t remote_limit; /* only with RECORD_LIMIT */
};
/* At most 64 bytes: ext4 keeps them in an inode of 256. */
G_STATIC_ASSERT(sizeof(struct record_disk) == 64);

enum mark_flags {
	MARK_DIR_LOCAL = 1, /* created locally: no remote entries */
	MARK_DIR_KEPT = 2,  /* its attributes and its name are local; its listing is remote */
};

struct mark_disk {
	uint8_t format; /* STORE_FORMAT */
	uint8_t flags;
	uint16_t reserved0; /* 0, as all reserved */
	uint32_t reserved1;
	uint64_t id; /* random; of its origin */
};
G_STATIC_ASSERT(sizeof(struct mark_disk) == 16);

#define PLACE_XATTR "user.lacuna.place"
#define PLACE_FORMAT 1 /* set-id bits have been removed from the objects */

struct place_disk {
	uint32_t format;
	uint32_t reserved;   /* 0 */
	uint64_t lock, tree; /* origin_key() of state/lock and of tree */
};
G_STATIC_ASSERT(sizeof(struct place_disk) == 24);

#define OWNER_XATTR "user.lacuna.owner"

/* Attributes that only root may set, and the daemon may not: HIDDEN_XATTR "trusted.x" is trusted.x
 */
#define HIDDEN_XATTR "user.lacuna.x."
/* security.capability of a file that is not fully local, or in a store without privileges */
#define CAPABILITY_XATTR "user.lacuna.capability"
/* The names of a kept file that has several remote ones: links.c */
#define LINKS_XATTR "user.lacuna.links"

struct links_disk {
	uint32_t pending; /* remote names that are not in the tree */
	uint32_t base;    /* 0, or st_nlink of the local file once a pending name exists */
};
G_STATIC_ASSERT(sizeof(struct links_disk) == 8);

/* A file's seals, uint32_t: lacuna/ioctl.h */
#define SEALS_XATTR "user.lacuna.sealed"

struct owner_disk {
	uint32_t mode, uid, gid;
	uint32_t rdev; /* of a file, as root: OWNER_WHOLE, or 0 */
};
/* The whole mode is valid, not the set-id bits alone: the object's own is being changed. */
#define OWNER_WHOLE 1u
G_STATIC_ASSERT(sizeof(struct owner_disk) == 16);

struct number_disk {
	uint64_t ino;   /* 64 bits, from 2^31 on */
	uint32_t told;  /* st_ino with -o inode32; from 2^31 on, below 2^32 - 1 */
	uint32_t check; /* low half of XXH3-64 of the bytes before it; zeros are no entry */
};
G_STATIC_ASSERT(sizeof(struct number_disk) == 16);

#define MAP_MAGIC UINT64_C(0x3150414d4e43414c) /* "LACNMAP1" */

struct map_header {
	uint64_t magic;
	uint8_t format;
	uint8_t chunk_shift;
	uint16_t reserved0; /* 0, as all reserved */
	uint32_t reserved1;
	uint64_t id;
	uint64_t ino;
	uint64_t size;
	uint64_t version;
	uint64_t reserved2;
	uint64_t checksum; /* XXH3-64 of the bytes before it */
};
G_STATIC_ASSERT(sizeof(struct map_header) == 64);

#define MARK_REMOTE 0u
#define MARK_LOCAL UINT32_MAX

struct map_slot {
	uint64_t hash;
	uint32_t mark;
	uint32_t reserved;
};
G_STATIC_ASSERT(sizeof(struct map_slot) == 16);

#define EPOCH_MAGIC UINT64_C(0x314850454e43414c) /* "LACNEPH1" */

/* Rewritten in place: it lies in one sector, and its checksum detects a torn write. */
struct epoch_disk {
	uint64_t magic;
	uint32_t number;
	uint32_t errors; /* write-back errors seen */
	uint64_t identity;
	uint32_t clean;    /* 0 or 1 */
	uint32_t failed;   /* 0 or 1: a sync failed, and the epoch ended */
	uint64_t checksum; /* XXH3-64 of the bytes before it */
};
G_STATIC_ASSERT(sizeof(struct epoch_disk) == 40);
