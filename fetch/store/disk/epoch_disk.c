/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/disk/epoch_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <xxhash.h>

static uint64_t checksum_of(const struct epoch_disk *d)
{
	return XXH3_64bits(d, offsetof(struct epoch_disk, checksum));
}

static bool decode(const struct epoch_disk *d, struct epoch_disk *out)
{
	if (GUINT64_FROM_LE(d->magic) != EPOCH_MAGIC ||
	    GUINT64_FROM_LE(d->checksum) != checksum_of(d) || d->number == 0)
		return false;
	*out = (struct epoch_disk){
	        .number = GUINT32_FROM_LE(d->number),
	        .errors = GUINT32_FROM_LE(d->errors),
	        .identity = GUINT64_FROM_LE(d->identity),
	        .clean = GUINT32_FROM_LE(d->clean),
	        .failed = GUINT32_FROM_LE(d->failed),
	};
	return true;
}

static struct epoch_disk encode(const struct epoch_disk *d)
{
	struct epoch_disk out = {
	        .magic = GUINT64_TO_LE(EPOCH_MAGIC),
	        .number = GUINT32_TO_LE(d->number),
	        .errors = GUINT32_TO_LE(d->errors),
	        .identity = GUINT64_TO_LE(d->identity),
	        .clean = GUINT32_TO_LE(d->clean),
	        .failed = GUINT32_TO_LE(d->failed),
	};

	out.checksum = GUINT64_TO_LE(checksum_of(&out));
	return out;
}

static int file_open(int state, const char *name)
{
	return openat(state, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static bool file_read(int state, struct epoch_disk *out)
{
	int fd = file_open(state, "epoch");
	struct epoch_disk d;
	bool ok = fd >= 0 && pread(fd, &d, sizeof d, 0) == sizeof d && decode(&d, out);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool copy_read(int state, struct epoch_disk *out)
{
	int fd = file_open(state, "lock");
	struct epoch_disk d;
	bool ok =
	        fd >= 0 && fgetxattr(fd, EPOCH_XATTR, &d, sizeof d) == sizeof d && decode(&d, out);

	if (fd >= 0)
		close(fd);
	return ok;
}

enum epoch_state epoch_disk_read(int state, struct epoch_disk *out)
{
	if (file_read(state, out))
		return EPOCH_INTACT;
	return copy_read(state, out) ? EPOCH_FROM_COPY : EPOCH_LOST;
}

static bool copy_is(int fd, const struct epoch_disk *d)
{
	struct epoch_disk there;

	return fgetxattr(fd, EPOCH_XATTR, &there, sizeof there) == sizeof there &&
	       memcmp(&there, d, sizeof there) == 0;
}

/* 0: it is written, or there is none. A right one stays, even if the disk is full. */
static int copy_write(int state, const struct epoch_disk *d)
{
	int fd = file_open(state, "lock"), err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!copy_is(fd, d) && fsetxattr(fd, EPOCH_XATTR, d, sizeof *d, 0) < 0 &&
	    fremovexattr(fd, EPOCH_XATTR) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		err = -errno;
	else if (fsync(fd) < 0)
		err = -errno;
	close(fd);
	return err;
}

int epoch_disk_write(int state, int fd, const struct epoch_disk *d)
{
	struct epoch_disk disk = encode(d);
	int err = d->clean ? 0 : copy_write(state, &disk);
	ssize_t n = err ? 0 : pwrite(fd, &disk, sizeof disk, 0);

	if (err == 0 && n != sizeof disk)
		err = n < 0 ? -errno : -ENOSPC;
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (err == 0 && d->clean)
		copy_write(state, &disk); /* an unclean copy costs a verification at most */
	return err;
}
