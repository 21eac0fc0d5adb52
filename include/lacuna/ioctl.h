/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Seals on the files of a lacunafs mount: those of memfd_create(2), with its rules and errnos,
 * kept for as long as the file. fcntl(F_ADD_SEALS) never reaches a FUSE file system: it is
 * EINVAL there. ENOTTY: not a file of such a mount.
 *
 *   uint32_t seals = LACUNA_SEAL_WRITE | LACUNA_SEAL_SEAL;
 *   int fd = open("file", O_ACCMODE);
 *   if (ioctl(fd, LACUNA_ADD_SEALS, &seals) < 0) …
 *
 * What differs from memfd: a file system is not told of mappings.
 *   - opening a file O_RDWR is EPERM once it is sealed with WRITE or FUTURE_WRITE, since such
 *     a descriptor can be mapped shared and writable. O_RDONLY with MAP_SHARED is allowed, and
 *     O_WRONLY: its writes are EPERM
 *   - any descriptor opened O_RDWR, its own included, is taken for a writable mapping
 *   - access mode 3 (O_ACCMODE, open(2)) asks for both permissions and gives a descriptor for
 *     ioctls alone: no mapping, no write can come of it. It is the best one to seal with
 *   - FUTURE_WRITE does not reach descriptors that were open O_RDWR before it: mmap(2) on
 *     them goes on to work; their write(2) does not
 *   - what is refused through a descriptor that was open O_WRONLY before the seal can be seen
 *     for an instant in mappings, until the kernel has dropped it from its page cache
 * From the command line: lacunafs seal.
 */
#pragma once
#include <linux/ioctl.h>
#include <stdint.h>

#define LACUNA_SEAL_SEAL 0x01u         /* no more seals */
#define LACUNA_SEAL_SHRINK 0x02u       /* no smaller size */
#define LACUNA_SEAL_GROW 0x04u         /* no larger size, nothing allocated past the end */
#define LACUNA_SEAL_WRITE 0x08u        /* no write, no hole punched, no writable mapping */
#define LACUNA_SEAL_FUTURE_WRITE 0x10u /* the same, but for mappings that are there */
/* No change of an x bit. On a file that has one: SHRINK, GROW, WRITE, FUTURE_WRITE as well. */
#define LACUNA_SEAL_EXEC 0x20u

/* Adds seals to those there are: all of them or none, durable on return. First that applies:
 *   EPERM   the descriptor is O_RDONLY
 *   EINVAL  a bit that is no seal; not a regular file
 *   EPERM   sealed with SEAL
 *   EBUSY   WRITE is new, and a shared mapping from a writable descriptor may live.
 *           GROW, WRITE or FUTURE_WRITE is new, and the file is open for writing in
 *           passthrough, where no write would be seen: the writers have to close it first
 *   ENOSPC, EDQUOT, EROFS, EIO  the store cannot keep them */
#define LACUNA_ADD_SEALS _IOW(0xED, 1, uint32_t)
/* The seals. Any descriptor but O_PATH. EINVAL: not a regular file. */
#define LACUNA_GET_SEALS _IOR(0xED, 2, uint32_t)

/* The same to read, as lacunafs seal prints it: "shrink,write", no NUL at the end. Not listed
 * by listxattr(2), so that it is not copied; EPERM to set and to remove; ENODATA: none. */
#define LACUNA_SEALS_XATTR "user.lacuna.seals"

/* Returns when everything changed in the mount, and fetched, is on the disk. Any descriptor of
 * it but O_PATH, directories included. What mappings hold, syncfs(2) brings there first.
 * EIO, ENOSPC and other errors of syncfs(2) on the store. */
#define LACUNA_SYNC _IO(0xED, 3)
