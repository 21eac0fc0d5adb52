/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A published tree, to the byte.
 *
 *   TREE/…                      the tree itself; its files stay where they are
 *   TREE/.lacuna/head           which version is current: the one file that changes
 *   TREE/.lacuna/head-<root>    of a signed version: a copy of its head, for mounts that are pinned
 *                               to it
 *   TREE/.lacuna/index-<root>   a version: all metadata and all digests. Immutable, and named by
 *                               what it holds, so a cache may keep it for ever
 *   TREE/.lacuna/objects/<id>   a pack: the bytes of small files, compressed. Immutable; <id> is
 *                               the SHA-256 of the object, 64 hex digits
 *
 * Numbers are little-endian; digests are SHA-256 (1.95 GB/s on one core here, BLAKE2b 1.1,
 * SHA-512/256 0.87, all of libcrypto with SHA-NI; FIPS 180-4). Reserved bytes are 0. `.lacuna` in
 * the root of the tree is not part of the tree.
 *
 * head: text of exactly HEAD_SIZE bytes, so that one ranged request of a known size gets it:
 *   lacuna 1\n
 *   root <64 hex digits>\n        of the index
 *   size <decimal>\n              of the index, bytes
 *   serial <decimal>\n            rises with each version, about seconds since 1970, when the
 *                                 publish began; a lower one is refused (rollback)
 *   signature <128 hex digits>\n  perhaps: Ed25519 (RFC 8032), of the four lines above it
 *   \n, then spaces to the end, the last byte is \n
 * Lines with other words between `serial` and the empty line are for later versions. A signature
 * is of a version, not of a place: trees that must not be taken for one another need a key each.
 *
 * index:
 *   image     an EROFS file system without file data; `image_size` bytes, a multiple of 4096
 *   extents   struct index_extent each, ascending by block, not overlapping
 *   objects   struct index_object each
 *   frames    struct index_frame each: those of the first object, in their order, then the next's
 *   digests   32 bytes each: of the blocks of all extents in their order, then of the objects'
 *             blocks, in the order of the objects
 *   leaves    32 bytes each: digests of the pieces of 64 KiB of all bytes before them; the last
 *             piece may be short
 *   tail      struct index_tail, 128 bytes: where the others are
 * extents, objects, frames, digests and leaves begin at multiples of 64; the gaps before them are
 * zeros. root = SHA-256(leaves ‖ tail): a piece of the index can be checked when it is first used.
 *
 * image: EROFS as Linux documents it (Documentation/filesystems/erofs.rst, fs/erofs/erofs_fs.h),
 * mountable with a file for device 1. What is used of it:
 *   - blocks of 4096; the superblock is at 1024, the table of devices (one slot of 128 bytes) at
 *     1152. Features: compat MTIME, incompat CHUNKED_FILE and DEVICE_TABLE; no checksum (`root`
 *     covers it). blocks: of the image. Device 1: blocks of the data address space
 *   - inode n ("nid") is at 32 × n, from byte 4096 on; the root directory is the first. All inodes
 *     are extended (64 bytes): times have nanoseconds. In i_ino: see index_node.identity
 *   - the xattr body follows the inode; entries whose (name, value) occurred before may be in the
 *     shared area (`xattr_blkaddr`), the others are inline
 *   - directories and symlinks: FLAT_INLINE, the last part in the same block as the inode, where
 *     that part and the inode have room in one block; else FLAT_PLAIN. Directory blocks are 4096
 *     bytes, with "." and ".."; names ascend by unsigned bytes, within a block and over all blocks
 *   - files: CHUNK_BASED, with chunk indexes of 8 bytes (device 1, or ~0 for a hole). A file
 *     without holes is one chunk; one with holes has chunks of at least 64 KiB, and an address
 *     for each chunk that has data. Empty files: FLAT_PLAIN
 *   - hard links: entries with the same nid; i_nlink counts those in the tree
 *
 * Data address space: where the files' bytes are, 4096 bytes a block, at most 2^32 - 1 blocks. A
 * run of chunks that have data, in one file, is an extent: its blocks are consecutive, and hold
 * `length` bytes, then zeros. An extent consists of digest blocks of 64 KiB, the last may be
 * short; the digest of each is at `digest` and following.
 *   frame == INDEX_FRAME_NONE: the bytes are those of the published file, from `offset` on, which
 *   is a multiple of 64 KiB. Otherwise they are in a frame, from `offset` of its content on; such
 *   an extent is all of its file.
 *
 * Packs: a file of at most PACK_FILE_MAX bytes, without holes, may be in a frame. Frames hold files
 * in the order of the index, without gaps. A frame has at most FRAME_SIZE bytes of content and is
 * read on its own; an object has at most OBJECT_FRAMES frames, from byte 0 on, without gaps.
 *
 *   codec FRAME_STORED: the content
 *   codec FRAME_ZSTD: one zstd frame of it (RFC 8878), without dictionary, shorter than the content
 *
 * An object consists of digest blocks of 64 KiB, the last may be short; the digest of each is at
 * `digest` and following. So a reader that has requested whole blocks can verify them before it
 * decompresses a byte. Measured, 17,500 files of /usr/share and /usr/include, 164 MB, level 3:
 * frames of 64 KiB 3.07:1, 128 KiB 3.25, 256 KiB 3.49, 512 KiB 3.66, 1 MiB 3.91; a dictionary of
 * 110 KiB makes 3.62 of 3.49, and each mount would need it.
 *
 * Tables: offset, size, field, meaning.
 *
 * index_extent, 32 bytes
 *   0   4  block        the first, in the data address space
 *   4   4  digest       number of its first digest
 *   8   8  length       > 0
 *   16  8  offset       in the file
 *   24  4  frame        its number
 *   28  4  reserved
 *
 * index_object, 64 bytes
 *   0   32 id           SHA-256 of the object
 *   32  8  size         of the object, > 0
 *   40  4  frame        number of its first
 *   44  4  frames       > 0
 *   48  4  digest       number of its first digest
 *   52  12 reserved
 *
 * index_frame, 24 bytes
 *   0   8  offset       in the object
 *   8   4  stored       bytes in the object, > 0
 *   12  4  size         of the content, >= stored
 *   16  4  codec
 *   20  4  object       its number
 *
 * index_tail, 128 bytes
 *   0   8  magic        "LACNIDX1"
 *   8   4  version      1
 *   12  4  reserved0
 *   16  8  image_size
 *   24  8  extents      offset in the index, as the next two
 *   32  8  digests
 *   40  8  leaves
 *   48  8  size         of the index
 *   56  4  extent_count
 *   60  4  digest_count
 *   64  8  files        names of all kinds but directories; for people
 *   72  8  bytes        of data, without holes; for people
 *   80  8  objects      offset in the index, as the next
 *   88  8  frames
 *   96  4  object_count
 *   100 4  frame_count
 *   104 24 reserved1
 *
 * Bounds: a name has 255 bytes, a link's target 4095, a value of an xattr 65535; sizes are below
 * 2^63; an index has at most 2^36 bytes (a nid of 31 bits) and 2^32 - 1 digests (256 TiB).
 */
#pragma once
#include <glib.h>
#include <stdint.h>

#define INDEX_FOLDER ".lacuna"
#define INDEX_HEAD INDEX_FOLDER "/head"
#define HEAD_SIZE 512u

#define DIGEST_SIZE 32u
#define DIGEST_BLOCK UINT64_C(65536) /* of data, and of the index itself */
#define INDEX_ALIGN UINT64_C(64)
#define INDEX_SIZE_MAX (UINT64_C(1) << 36)

#define INDEX_MAGIC UINT64_C(0x315844494e43414c) /* "LACNIDX1" */
#define INDEX_VERSION 1u
#define INDEX_FRAME_NONE UINT32_MAX

#define OBJECT_FOLDER INDEX_FOLDER "/objects"
#define PACK_FILE_MAX UINT64_C(131072)
#define FRAME_SIZE UINT64_C(262144)
#define OBJECT_FRAMES 32u
#define OBJECT_DIGESTS (OBJECT_FRAMES * (FRAME_SIZE / DIGEST_BLOCK)) /* at most */
enum frame_codec { FRAME_STORED = 0, FRAME_ZSTD = 1 };

struct index_extent {
	uint32_t block;
	uint32_t digest;
	uint64_t length;
	uint64_t offset;
	uint32_t frame;
	uint32_t reserved; /* 0 */
};
G_STATIC_ASSERT(sizeof(struct index_extent) == 32);

struct index_object {
	uint8_t id[DIGEST_SIZE];
	uint64_t size;
	uint32_t frame, frames;
	uint32_t digest;
	uint32_t reserved[3]; /* 0 */
};
G_STATIC_ASSERT(sizeof(struct index_object) == 64);

struct index_frame {
	uint64_t offset;
	uint32_t stored, size;
	uint32_t codec; /* enum frame_codec */
	uint32_t object;
};
G_STATIC_ASSERT(sizeof(struct index_frame) == 24);

struct index_tail {
	uint64_t magic;
	uint32_t version;
	uint32_t reserved0; /* 0 */
	uint64_t image_size;
	uint64_t extents, digests, leaves;
	uint64_t size;
	uint32_t extent_count, digest_count;
	uint64_t files, bytes;
	uint64_t objects, frames;
	uint32_t object_count, frame_count;
	uint8_t reserved1[24]; /* 0 */
};
G_STATIC_ASSERT(sizeof(struct index_tail) == 128);

/* ---- EROFS ---- */

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_SUPER_AT 1024u
#define EROFS_DEVICE_AT 1152u
#define EROFS_DEVICE_SLOT 128u
#define EROFS_BLOCK_BITS 12u
#define EROFS_BLOCK 4096u
#define EROFS_NID_SHIFT 5u /* inodes are at multiples of 32 */
#define EROFS_COMPAT_MTIME 2u
#define EROFS_INCOMPAT_CHUNKED 4u
#define EROFS_INCOMPAT_DEVICES 8u

enum erofs_layout { EROFS_FLAT_PLAIN = 0, EROFS_FLAT_INLINE = 2, EROFS_CHUNK_BASED = 4 };
#define EROFS_FORMAT_EXTENDED 1u /* bit 0 of i_format; the layout is in bits 1 to 3 */
#define EROFS_CHUNK_INDEXES 0x20u
#define EROFS_CHUNK_BITS 0x1fu
#define EROFS_HOLE UINT32_MAX

enum erofs_type {
	EROFS_FT_REGULAR = 1,
	EROFS_FT_DIRECTORY,
	EROFS_FT_CHARACTER,
	EROFS_FT_BLOCK,
	EROFS_FT_FIFO,
	EROFS_FT_SOCKET,
	EROFS_FT_LINK,
};

enum erofs_prefix {
	EROFS_XATTR_USER = 1,
	EROFS_XATTR_ACL_ACCESS = 2,
	EROFS_XATTR_ACL_DEFAULT = 3,
	EROFS_XATTR_TRUSTED = 4,
	EROFS_XATTR_SECURITY = 6,
};

struct erofs_super {
	uint32_t magic;
	uint32_t checksum;
	uint32_t feature_compat;
	uint8_t block_bits;
	uint8_t slots;
	uint16_t root_nid;
	uint64_t inodes;
	uint64_t epoch;
	uint32_t nanoseconds;
	uint32_t blocks;
	uint32_t meta_block;
	uint32_t xattr_block;
	uint8_t uuid[16];
	uint8_t volume[16];
	uint32_t feature_incompat;
	uint16_t compression;
	uint16_t devices;
	uint16_t device_slot; /* of the first, × 128 */
	uint8_t dir_block_bits;
	uint8_t prefixes;
	uint32_t prefix_start;
	uint64_t packed_nid;
	uint8_t reserved[24];
};
G_STATIC_ASSERT(sizeof(struct erofs_super) == 128);

struct erofs_device {
	uint8_t tag[64];
	uint32_t blocks;
	uint32_t mapped;
	uint8_t reserved[56];
};
G_STATIC_ASSERT(sizeof(struct erofs_device) == EROFS_DEVICE_SLOT);

struct erofs_inode {
	uint16_t format;
	uint16_t xattr_count;
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t data; /* first block; chunk format; device number */
	uint32_t ino;
	uint32_t uid, gid;
	uint64_t seconds; /* signed */
	uint32_t nanoseconds;
	uint32_t nlink;
	uint8_t reserved2[16];
};
G_STATIC_ASSERT(sizeof(struct erofs_inode) == 64);

struct erofs_chunk {
	uint16_t high; /* 0 */
	uint16_t device;
	uint32_t block;
};
G_STATIC_ASSERT(sizeof(struct erofs_chunk) == 8);

struct erofs_dirent {
	uint64_t nid;
	uint16_t name;
	uint8_t type;
	uint8_t reserved;
} __attribute__((packed));
G_STATIC_ASSERT(sizeof(struct erofs_dirent) == 12);

struct erofs_xattr_body {
	uint32_t filter; /* 0: any name may be there */
	uint8_t shared;
	uint8_t reserved[7];
};
G_STATIC_ASSERT(sizeof(struct erofs_xattr_body) == 12);

struct erofs_xattr {
	uint8_t name_length;
	uint8_t prefix;
	uint16_t value_size;
};
G_STATIC_ASSERT(sizeof(struct erofs_xattr) == 4);

static inline uint64_t index_round(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Where the parts begin, by image_size and the counts. */
static inline void index_tail_place(struct index_tail *t)
{
	t->extents = t->image_size;
	t->objects = index_round(
	        t->extents + t->extent_count * (uint64_t)sizeof(struct index_extent), INDEX_ALIGN);
	t->frames = index_round(
	        t->objects + t->object_count * (uint64_t)sizeof(struct index_object), INDEX_ALIGN);
	t->digests = index_round(t->frames + t->frame_count * (uint64_t)sizeof(struct index_frame),
	                         INDEX_ALIGN);
	t->leaves = index_round(t->digests + t->digest_count * (uint64_t)DIGEST_SIZE, INDEX_ALIGN);
}
