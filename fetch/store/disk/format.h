/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The store on disk, format 1: all that a reader or a checker needs (tests/mount/test_format.py
 * reads a store by the tables below).
 *
 * Numbers are unsigned and little-endian, except in listings; "hash" is XXH3-64, its seed 0 unless
 * named. Names of numbers are 16 lower-case hex digits, `xx` is the last two of them. Directories
 * of state/ are created when they are needed.
 *
 *   STORE/tree/…                 the local tree; remote files never accessed are not in it
 *   STORE/state/lock             locked (OFD) while a daemon has the store open; 12 bytes: its pid
 *                                in decimal, padded with spaces to 11, then a newline, or '-'
 *                                while it is closing; xattrs user.lacuna.place = place_disk, the
 *                                store's place, and user.lacuna.epoch = a copy of state/epoch
 *   STORE/state/settings         key file: [store] format=1, source=URL, chunk_shift=N,
 *                                mirrors=URL;… (may be missing), check=the hash, in 16 hex digits,
 *                                of "FORMAT\nSOURCE\nSHIFT\n", then "MIRROR\n" of each. Written
 *                                last: without it and its copy there is no store
 *   STORE/state/settings.copy    the same
 *   STORE/state/epoch            epoch_disk
 *   STORE/state/dirs/xx/<ino>    a directory's listing, by its st_ino in the mount, then
 *                                directory_trailer
 *   STORE/state/maps/xx/<id>     map_header, then map_slot*chunks; of a file of several chunks
 *   STORE/state/dirty/xx/<id>    empty files: the map of that record may have chunks that are
 *                                dirty in this epoch
 *   STORE/state/links/xx/<ino>   hard link to the local file of a remote file with several
 *                                names, by its st_ino
 *   STORE/state/origins/xx/<id>  symlink "INO.CHECK/PATH": st_ino (16 hex digits) and remote path
 *                                of a kept object, by the id of its record or mark; of an object
 *                                that can have neither, by its key. CHECK (8 hex digits) is the
 *                                low half of the hash of ID, INO (16 hex digits each), '/' and
 *                                PATH. A text of more than 960 bytes continues in <id>.1, and
 *                                so on, in pieces of 960; the first piece is written last
 *   STORE/state/gone/xx/<ino>/…  empty files: the remote names that are gone from a directory,
 *                                by its st_ino
 *   STORE/state/owners/xx/<key>  symlink "MODE:UID:GID" (octal, decimal) of an object that can
 *                                carry no xattr, where the daemon may not set them, by its key
 *   STORE/state/orphans/<n>      files set aside: found in the tree but not bound to their
 *                                records
 *   STORE/state/unlinked/<n>     files without a name, unlinked or not linked yet, that are in
 *                                use; emptied when the store is opened
 *   STORE/state/inode32          number_disk, in the order in which the numbers were assigned; an
 *                                incomplete last one is dropped. Missing: -o inode32 was never
 *                                given
 *   STORE/state/usage            usage_disk use_disk*count: when files were last used, and how
 *                                much the store holds. Missing or damaged: not known
 *   STORE/state/pins/xx/<ino>    the files and directories that are not evicted, by their st_ino
 *                                in the mount; text: the path there when it was pinned, to be
 *                                shown only. May be empty
 *   STORE/state/reserve          256 KiB of padding: space for removals on a full disk
 *   STORE/state/index/…          the index of a published tree, with its head: shelf.h
 *   STORE/state/packs/<id>       content of the packs of a published tree, as local files:
 *                                fetch/index/format.h. Frame n is at n × 256 KiB
 *   STORE/state/tmp/<n>          unfinished files; emptied when the store is opened
 *   STORE/state/log, log.1       the daemon's log: text
 *
 *   local file = sparse data, xattr user.lacuna = record_disk, without its last field unless it
 *                                has RECORD_LIMIT
 *   local directory, xattr user.lacuna = mark_disk
 *   local file, xattr user.lacuna.sealed = its seals, 4 bytes: lacuna/ioctl.h
 *   local file, xattr user.lacuna.links = links_disk
 *   both, xattr user.lacuna.owner = owner_disk: attributes that the daemon may not set; as
 *                                root the set-id bits of files, which are never on the object
 *
 * The key of an object is the hash of its inode number, and of seconds and nanoseconds of its birth
 * (0 where unknown), 8 bytes each in the machine's order; 1 where that is 0.
 *
 * Tables: offset, size, field, meaning. Reserved fields are 0.
 *
 * record_disk, 64 bytes
 *   0   1  format       1
 *   1   1  flags        RECORD_*
 *   2   1  chunk_shift  12…24
 *   3   1  reserved
 *   4   4  epoch        > 0; in which its chunks were trusted
 *   8   8  id           random, > 0
 *   16  8  ino          of the local file
 *   24  8  size         of the remote file
 *   32  8  mtime_ns     signed, since 1970; of the remote file, or of the last local change
 *   40  8  version      of the source, to which the chunks are pinned; 0: not yet
 *   48  8  hash         of a single chunk, else 0
 *   56  8  remote_limit only with RECORD_LIMIT
 *
 * mark_disk, 16 bytes
 *   0   1  format       1
 *   1   1  flags        MARK_DIR_*
 *   2   2  reserved0
 *   4   4  reserved1
 *   8   8  id           random, > 0; of its origin
 *
 * map_header, 64 bytes
 *   0   8  magic        "LACNMAP1"
 *   8   1  format       1
 *   9   1  chunk_shift  these are the record's, as id, ino, size and version
 *   10  2  flags        MAP_CHECKED; 0 by earlier versions
 *   12  4  reserved1
 *   16  8  id
 *   24  8  ino
 *   32  8  size
 *   40  8  version
 *   48  8  reserved2
 *   56  8  checksum     hash of the 56 bytes before it
 *
 * map_slot, 16 bytes
 *   0   8  hash         of the chunk's bytes, 1 where that is 0; 0: not present, unless local
 *   8   4  mark         0: MARK_REMOTE; 0xffffffff: MARK_LOCAL; else an epoch: dirty
 *   12  4  check        low half of the hash of id, chunk, hash and mark, 8 bytes each
 *
 * epoch_disk, 40 bytes
 *   0   8  magic        "LACNEPH1"
 *   8   4  number       > 0
 *   12  4  errors       write-back errors seen
 *   16  8  identity     hash of boot id, mount and errors
 *   24  4  clean        0 or 1
 *   28  4  failed       0 or 1: a sync failed, and the epoch ended
 *   32  8  checksum     hash of the 32 bytes before it
 *
 * place_disk, 24 bytes
 *   0   4  format       1
 *   4   4  reserved
 *   8   8  lock         key of state/lock
 *   16  8  tree         key of tree
 *
 * links_disk, 8 bytes
 *   0   4  pending      remote names that are not in the tree
 *   4   4  base         0, or st_nlink of the local file once a pending name exists
 *
 * owner_disk, 16 bytes
 *   0   4  mode
 *   4   4  uid
 *   8   4  gid
 *   12  4  rdev         (major << 20) | minor; of a file, as root: OWNER_WHOLE, or 0
 *
 * number_disk, 16 bytes
 *   0   8  ino          64 bits, from 2^31 on
 *   8   4  shown        st_ino with -o inode32; from 2^31 on, below 2^32 - 1
 *   12  4  check        low half of the hash of the 12 bytes before it; zeros are no entry
 *
 * usage_disk, 48 bytes
 *   0   8  magic        "LACNUSG1"
 *   8   8  used         bytes of the store, as blocks
 *   16  8  fetched      of these, in files without local data
 *   24  4  known        0 or 1: the two were exact
 *   28  4  reserved
 *   32  8  count
 *   40  8  checksum     hash of the whole file, with this field 0
 *
 * use_disk, 16 bytes
 *   0   8  ino          st_ino of the local file
 *   8   4  at           seconds since 1970
 *   12  4  reserved
 *
 * listing_header, 48 bytes, in the machine's order, as listing_entry; then listing_entry*count,
 * 4 bytes*count: the entries' indices by (hash of the name, name), then name NUL [target NUL]
 * [xattrs] of each entry, and at last the validator NUL; without gaps
 *   0   8  magic        "LACNLST1"; on a machine of the other order it does not match
 *   8   8  checksum     hash of all bytes from offset 16 to `length`
 *   16  8  length       of the listing
 *   24  8  checked_ns   signed; when the source last confirmed it, since 1970
 *   32  4  count
 *   36  4  last_cookie  highest ever assigned
 *   40  4  validator_off
 *   44  4  reserved
 *
 * listing_entry, 72 bytes; offsets are from the beginning of the listing, 0: none
 *   0   8  ino          hash of the remote identity: st_ino
 *   8   8  size
 *   16  8  mtime_ns     signed
 *   24  8  listed_hash  hash of size, mtime and flags as the source listed them
 *   32  4  cookie       rising; offset for readdir
 *   36  4  mode
 *   40  4  uid
 *   44  4  gid
 *   48  4  nlink
 *   52  4  rdev         (major << 20) | minor
 *   56  4  name_off
 *   60  4  target_off   of a symlink
 *   64  4  xattr_off    size names_size (name NUL)* (value_size value)*, sizes of 4 bytes
 *   68  2  name_len
 *   70  2  flags        1 exact size, 2 known mtime, 4 resolved by a request of its own, 8
 * directory
 *
 * directory_trailer, 16 bytes
 *   0   8  magic        "LACNDIR1"
 *   8   8  check        hash, with the directory's st_ino as seed, of the listing's first 16 bytes
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
 * Chunk i covers [i << chunk_shift, (i + 1) << chunk_shift) of the remote size. A hash is written
 * after its data, with no fsync: it is trusted only if the record's epoch is the store's. Otherwise
 * the chunk is doubtful: its local bytes must match the hash first. Once no chunk of a file is
 * doubtful its record gets the current epoch. A slot of zeros is that of an absent chunk.
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
 * system, write-back errors seen); else a new epoch begins. Epoch 0 is none.
 *
 * Order of durability. Fetched: data, map, record, name; no fsync. Written locally: record with
 * RECORD_LIMIT, dirty mark, data; at fsync, or by the flusher: fdatasync of the data, then
 * MARK_LOCAL, then fsync of the map. Fully local: fsync of the data, then the record. A map: its
 * size, then its header. Kept: origin, then record or mark. Settings, epoch: fsync. After a
 * record became fully local the file's next fdatasync is an fsync: it writes xattrs, too.
 *
 * Invariants (README.md, "When things go wrong"): a byte is given out only where a slot or a record
 * says that it is present, and, in a later epoch than the slot's, only once it matches its hash;
 * what is not present is requested, never zeros. What was fsynced is local in every later epoch.
 * What was fetched is present after a crash of the daemon, which ends no epoch. Nothing in a store
 * makes the daemon write outside of it: names are resolved below their directory, without links.
 *
 * Damage is noticed, and costs no local change:
 *   settings, epoch      their copy applies; without it, the store cannot be opened, or everything
 *                        is verified, and dirty chunks are as of an earlier epoch
 *   listing              as if there were none
 *   map of a file        with RECORD_LIMIT, whose chunks may be local: it cannot be opened
 *                        (EUCLEAN); kept: every chunk is absent; else the file is set aside
 *   slot                 with RECORD_LIMIT, the same; else the chunk is absent
 *   origin               the object cannot be used (EUCLEAN); if it is missing: what the listing
 *                        says at its place, and the data is still that of its record and map
 *   dirty, inode32       found again when the file is opened; the number is assigned anew
 * Not noticed: the loss of a whole name in gone, links or owners, and a slot that became all zeros.
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

#define DIRECTORY_MAGIC UINT64_C(0x315249444e43414c) /* "LACNDIR1" */
/* The listing's magic and checksum, which cover the rest of it */
#define DIRECTORY_BOUND 16

/* Follows the listing in its file. */
struct directory_trailer {
	uint64_t magic;
	uint64_t check; /* XXH3-64, seed = st_ino, of the first DIRECTORY_BOUND bytes */
};
G_STATIC_ASSERT(sizeof(struct directory_trailer) == 16);

struct owner_disk {
	uint32_t mode, uid, gid;
	uint32_t rdev; /* of a file, as root: OWNER_WHOLE, or 0 */
};
/* The whole mode is valid, not the set-id bits alone: the object's own is being changed. */
#define OWNER_WHOLE 1u
G_STATIC_ASSERT(sizeof(struct owner_disk) == 16);

struct number_disk {
	uint64_t ino;
	uint32_t shown;
	uint32_t check;
};
G_STATIC_ASSERT(sizeof(struct number_disk) == 16);

#define MAP_MAGIC UINT64_C(0x3150414d4e43414c) /* "LACNMAP1" */

enum map_flags {
	MAP_CHECKED = 1, /* each slot has its check, and the file is long enough for all of them */
};

struct map_header {
	uint64_t magic;
	uint8_t format;
	uint8_t chunk_shift;
	uint16_t flags;
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
	uint32_t check; /* low half of XXH3-64 of struct slot_checked; 0: see MAP_CHECKED */
};
G_STATIC_ASSERT(sizeof(struct map_slot) == 16);

/* Binds a slot to its map and place. */
struct slot_checked {
	uint64_t id, chunk, hash, mark;
};

#define EPOCH_XATTR "user.lacuna.epoch"
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
