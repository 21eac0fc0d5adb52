/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Seals on the files of a lacunafs mount: those of memfd_create(2), with the same rules and
 * errnos. A seal lasts as long as the file. fcntl(F_ADD_SEALS) does not reach a FUSE file system:
 * it fails with EINVAL. ENOTTY: the file is not in a lacunafs mount.
 *
 *   uint32_t seals = LACUNA_SEAL_WRITE | LACUNA_SEAL_SEAL;
 *   int fd = open("file", O_ACCMODE);
 *   if (ioctl(fd, LACUNA_ADD_SEALS, &seals) < 0) …
 *
 * Differences from memfd, as the kernel does not report mappings to a FUSE file system:
 *   - open(2) with O_RDWR fails with EPERM once the file is sealed with WRITE or FUTURE_WRITE,
 *     since such a descriptor can be mapped shared and writable. O_RDONLY with MAP_SHARED is
 *     allowed, and so is O_WRONLY: its writes fail with EPERM
 *   - any descriptor opened O_RDWR, also the caller's own, counts as a writable mapping
 *   - access mode 3 (O_ACCMODE, open(2)) requires both permissions and returns a descriptor for
 *     ioctls only, which can neither be mapped nor written. Seal through such a descriptor
 *   - FUTURE_WRITE does not restrict mmap(2) on descriptors that were open O_RDWR before it;
 *     their write(2) fails
 *   - data refused through a descriptor that was open O_WRONLY before the seal can be visible in
 *     mappings for an instant, until the kernel drops it from its page cache
 * From the command line: lacunafs seal.
 */
#pragma once
#include <linux/ioctl.h>
#include <stdint.h>

#define LACUNA_SEAL_SEAL 0x01u         /* no more seals */
#define LACUNA_SEAL_SHRINK 0x02u       /* no smaller size */
#define LACUNA_SEAL_GROW 0x04u         /* no larger size, nothing allocated past the end */
#define LACUNA_SEAL_WRITE 0x08u        /* no write, no hole punched, no writable mapping */
#define LACUNA_SEAL_FUTURE_WRITE 0x10u /* the same, except for existing mappings */
/* No change of an x bit. On an executable file: SHRINK, GROW, WRITE, FUTURE_WRITE as well. */
#define LACUNA_SEAL_EXEC 0x20u

/* Adds seals to the file's: all of them or none, durable on return. The first that applies:
 *   EPERM   the descriptor is O_RDONLY
 *   EINVAL  a bit is not a seal; not a regular file
 *   EPERM   the file is sealed with SEAL
 *   EBUSY   WRITE is new, and a shared mapping of a writable descriptor may exist.
 *           GROW, WRITE or FUTURE_WRITE is new, and the file is open for writing in
 *           passthrough, where writes bypass the daemon: the writers have to close it first
 *   ENOSPC, EDQUOT, EROFS, EIO  the store cannot record the seals */
#define LACUNA_ADD_SEALS _IOW(0xED, 1, uint32_t)
/* Returns the seals. Any descriptor but O_PATH. EINVAL: not a regular file. */
#define LACUNA_GET_SEALS _IOR(0xED, 2, uint32_t)

/* The seals as text, as lacunafs seal prints them: "shrink,write", without a NUL. Not listed
 * by listxattr(2), so that copies omit it; EPERM to set and to remove; ENODATA: no seals. */
#define LACUNA_SEALS_XATTR "user.lacuna.seals"

/* Returns when all changes and all fetched data of the mount are on the disk. Any descriptor of
 * the mount but O_PATH, directories included. Call syncfs(2) first to write dirty mappings back.
 * EIO, ENOSPC and other errors of syncfs(2) on the store. */
#define LACUNA_SYNC _IO(0xED, 3)
