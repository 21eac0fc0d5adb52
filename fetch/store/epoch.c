/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/epoch.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/format.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8 */
#endif
#define MNT_ID_OFFSET 0x90 /* of stx_mnt_id, younger than some libc headers */

static uint64_t random_number(void)
{
	uint64_t number;

	while (getrandom(&number, sizeof number, 0) != sizeof number)
		;
	return number;
}

static bool read_boot_id(char id[36])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && read(fd, id, 36) == 36;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* What cannot be told is like no other: then nothing unclean is trusted. */
static uint64_t identity_now(int dir, uint32_t errors)
{
	union {
		struct statx st;
		unsigned char bytes[sizeof(struct statx)];
	} u = {0};
	struct {
		char boot[40]; /* no padding: it is hashed whole */
		uint32_t errors, major, minor, kind;
		uint64_t mount;
	} what = {.errors = errors};
	unsigned mask = STATX_MNT_ID | STATX_MNT_ID_UNIQUE;

	if (!read_boot_id(what.boot) ||
	    syscall(SYS_statx, dir, "", AT_EMPTY_PATH, mask, &u.st) < 0 || !(u.st.stx_mask & mask))
		return random_number();
	what.kind = u.st.stx_mask & mask;
	what.major = u.st.stx_dev_major;
	what.minor = u.st.stx_dev_minor;
	memcpy(&what.mount, u.bytes + MNT_ID_OFFSET, sizeof what.mount);
	return XXH3_64bits(&what, sizeof what);
}

static uint64_t epoch_checksum(const struct epoch_disk *d)
{
	return XXH3_64bits(d, offsetof(struct epoch_disk, checksum));
}

static int epoch_write(struct epoch *e, bool clean)
{
	struct epoch_disk d = {
	        .magic = GUINT64_TO_LE(EPOCH_MAGIC),
	        .number = GUINT32_TO_LE(e->number),
	        .errors = GUINT32_TO_LE(e->errors),
	        .identity = GUINT64_TO_LE(e->identity),
	        .clean = GUINT32_TO_LE(clean),
	};
	ssize_t n;

	d.checksum = GUINT64_TO_LE(epoch_checksum(&d));
	n = pwrite(e->fd, &d, sizeof d, 0);
	if (n != sizeof d)
		return n < 0 ? -errno : -ENOSPC;
	return fsync(e->fd) < 0 ? -errno : 0;
}

static bool epoch_read(int fd, struct epoch_disk *out)
{
	struct epoch_disk d;

	if (pread(fd, &d, sizeof d, 0) != sizeof d || GUINT64_FROM_LE(d.magic) != EPOCH_MAGIC ||
	    GUINT64_FROM_LE(d.checksum) != epoch_checksum(&d) || d.number == 0)
		return false;
	out->number = GUINT32_FROM_LE(d.number);
	out->errors = GUINT32_FROM_LE(d.errors);
	out->identity = GUINT64_FROM_LE(d.identity);
	out->clean = GUINT32_FROM_LE(d.clean);
	return true;
}

static uint32_t next_number(uint32_t number)
{
	return number == UINT32_MAX ? 1 : number + 1;
}

static int epoch_start(struct epoch *e, int state, unsigned flags)
{
	struct epoch_disk d = {0};
	bool known = epoch_read(e->fd, &d);

	e->errors = d.errors;
	e->identity = identity_now(state, e->errors);
	if (!known) {
		e->number = flags & EPOCH_FRESH ? 1 : next_number(random_number() >> 33);
		if (flags & EPOCH_FRESH) {
			int err = epoch_write(e, true);

			if (err == 0 && fsync(state) < 0)
				err = -errno;
			e->clean_on_disk = true;
			return err;
		}
		return 0;
	}
	e->number = d.number;
	if ((!d.clean && d.identity != e->identity) || (flags & EPOCH_NEXT)) {
		e->number = next_number(d.number);
	} else {
		e->clean_on_disk = d.clean;
		e->begun = !d.clean;
	}
	return 0;
}

int epoch_open(struct epoch *e, int state, unsigned flags)
{
	int fd = openat(state, "epoch", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	if (fd < 0)
		return -errno;
	memset(e, 0, sizeof *e);
	e->fd = fd;
	err = epoch_start(e, state, flags);
	if (err) {
		close(fd);
		return err;
	}
	pthread_mutex_init(&e->lock, NULL);
	return 0;
}

int epoch_begin(struct epoch *e)
{
	int err = 0;

	if (__atomic_load_n(&e->begun, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&e->lock);
	if (!e->begun) {
		err = epoch_write(e, false);
		if (err == 0) {
			e->clean_on_disk = false;
			__atomic_store_n(&e->begun, 1, __ATOMIC_RELEASE);
		}
	}
	pthread_mutex_unlock(&e->lock);
	return err;
}

void epoch_failed(struct epoch *e)
{
	pthread_mutex_lock(&e->lock);
	e->failed = true;
	e->errors++; /* the identity on disk is of the count before */
	epoch_write(e, false);
	pthread_mutex_unlock(&e->lock);
}

int epoch_end(struct epoch *e, int dir)
{
	int err = 0;

	if (!e->clean_on_disk && !e->failed) {
		if (syncfs(dir) < 0) {
			err = -errno;
			epoch_failed(e);
		} else {
			err = epoch_write(e, true);
		}
	}
	epoch_close(e);
	return err;
}

void epoch_close(struct epoch *e)
{
	close(e->fd);
	pthread_mutex_destroy(&e->lock);
}
