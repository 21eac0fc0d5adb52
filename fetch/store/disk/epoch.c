/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/store/disk/epoch.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/store/disk/epoch_disk.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U /* Linux 6.8 */
#endif
#define RECORDS_MAX 65536 /* with more changed records every sync is an fsync(2) */
#define FAILED_FILES_MAX 65536
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

/* An unknown identity matches no other: then no unclean epoch is trusted. */
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

static int epoch_write(struct epoch *e, bool clean)
{
	const struct epoch_disk d = {
	        .number = e->number,
	        .errors = e->errors,
	        .identity = e->identity,
	        .clean = clean,
	        .failed = e->failed != 0,
	};

	return epoch_disk_write(e->state, e->fd, &d);
}

uint32_t epoch_left(int state)
{
	struct epoch_disk d;
	bool left = epoch_disk_read(state, &d) != EPOCH_LOST && !d.clean && !d.failed;

	return left ? d.number : 0;
}

static uint32_t next_number(uint32_t number)
{
	return number == UINT32_MAX ? 1 : number + 1;
}

/* A full disk is no reason not to open: the copy stays. */
static int epoch_mend(struct epoch *e, bool clean)
{
	int err = epoch_write(e, clean);

	return err == -ENOSPC || err == -EDQUOT ? 0 : err;
}

static int epoch_start(struct epoch *e, int state, unsigned flags)
{
	struct epoch_disk d = {0};
	enum epoch_state found = flags & EPOCH_FRESH ? EPOCH_LOST : epoch_disk_read(state, &d);
	bool known = found != EPOCH_LOST;

	if (found == EPOCH_FROM_COPY)
		g_warning("the store's state/epoch is damaged or missing: its copy is used");
	else if (!known && !(flags & EPOCH_FRESH))
		g_warning("the store's state/epoch is damaged or missing: all fetched data is "
		          "verified before it is used, and unsynced local writes are lost");
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
	if (flags & EPOCH_OTHER) {
		e->number = next_number(random_number() >> 33);
	} else if ((!d.clean && d.identity != e->identity) || (flags & EPOCH_NEXT)) {
		e->number = next_number(d.number);
	} else {
		e->clean_on_disk = d.clean;
		e->begun = !d.clean;
		return found == EPOCH_FROM_COPY ? epoch_mend(e, d.clean) : 0;
	}
	return 0;
}

static bool was_removed(int dir)
{
	struct stat st;

	return dir >= 0 && fstat(dir, &st) == 0 && st.st_nlink == 0;
}

int epoch_open(struct epoch *e, int state, unsigned flags)
{
	int fd = openat(state, "epoch", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	if (fd < 0)
		return -errno;
	memset(e, 0, sizeof *e);
	e->fd = fd;
	e->state = state;
	e->tree = -1;
	e->linked = !was_removed(state);
	err = epoch_start(e, state, flags);
	if (err) {
		close(fd);
		return err;
	}
	e->records = g_hash_table_new(NULL, NULL);
	e->records_all = e->begun; /* those of a daemon that died may not be durable either */
	mutex_init(&e->lock, RANK_EPOCH);
	for (int n = 0; n < EPOCH_SYNCS; n++)
		mutex_init(&e->syncing[n], RANK_EPOCH_SYNCING);
	return 0;
}

/* In a removed directory every call fails, each with a different, misleading errno. */
int epoch_here(struct epoch *e)
{
	if (!e->linked || (!was_removed(e->state) && !was_removed(e->tree)))
		return 0;
	if (!__atomic_exchange_n(&e->lost, 1, __ATOMIC_RELAXED))
		g_warning("the store was removed while it was mounted: nothing can be fetched or "
		          "changed; unmount");
	return -EIO;
}

int epoch_begin(struct epoch *e)
{
	int err = epoch_here(e);

	if (err || __atomic_load_n(&e->begun, __ATOMIC_ACQUIRE))
		return err;
	mutex_lock(&e->lock);
	if (!e->begun) {
		err = epoch_write(e, false);
		if (err == 0) {
			e->clean_on_disk = false;
			__atomic_store_n(&e->begun, 1, __ATOMIC_RELEASE);
		}
	}
	mutex_unlock(&e->lock);
	return err;
}

/* The last resort, if the file cannot be written, is to remove it: then the next daemon begins a
 * random epoch, or the next one, by its copy. */
static void epoch_failed(struct epoch *e, int err)
{
	mutex_lock(&e->lock);
	if (!e->failed) {
		__atomic_store_n(&e->failed, 1, __ATOMIC_RELEASE);
		e->errors++; /* the identity on disk has the previous count */
		if (epoch_write(e, false) < 0 && unlinkat(e->state, "epoch", 0) < 0)
			g_critical(
			        "the end of the store's epoch could not be written to the disk: %s",
			        g_strerror(errno));
		g_warning("the disk of the store failed to write (%s): writes since the "
		          "last sync may be lost, and fetched files cannot be changed until the "
		          "store "
		          "is mounted again",
		          g_strerror(-err));
	}
	mutex_unlock(&e->lock);
}

/* An error of a sync that is unsupported, or interrupted, is no write-back error. */
static int synced(struct epoch *e, int err)
{
	if (err == 0 || err == -EINVAL || err == -EBADF || err == -ENOSYS || err == -EOPNOTSUPP ||
	    err == -EINTR)
		return err;
	epoch_failed(e, err);
	return err;
}

static uint64_t file_number(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void file_failed(struct epoch *e, uint64_t ino)
{
	mutex_lock(&e->lock);
	uint32_t now = __atomic_add_fetch(&e->failures, 1, __ATOMIC_ACQ_REL);
	if (e->failed_files == NULL)
		e->failed_files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	if (g_hash_table_size(e->failed_files) >= FAILED_FILES_MAX) {
		g_hash_table_remove_all(e->failed_files);
		e->failed_others = now;
	}
	g_hash_table_insert(e->failed_files, g_memdup2(&ino, sizeof ino), GUINT_TO_POINTER(now));
	mutex_unlock(&e->lock);
}

static void record_add(struct epoch *e, uint64_t ino)
{
	mutex_lock(&e->lock);
	g_hash_table_add(e->records, (void *)(uintptr_t)ino);
	if (g_hash_table_size(e->records) > RECORDS_MAX) {
		g_hash_table_remove_all(e->records);
		e->records_all = true;
	}
	mutex_unlock(&e->lock);
}

void epoch_record_changed(struct epoch *e, int fd)
{
	record_add(e, file_number(fd));
}

static bool record_take(struct epoch *e, uint64_t ino)
{
	mutex_lock(&e->lock);
	bool taken = g_hash_table_remove(e->records, (void *)(uintptr_t)ino) || e->records_all;
	mutex_unlock(&e->lock);
	return taken;
}

/* One sync per file at a time: an error reported to one caller is recorded before the next caller
 * syncs, to whom the kernel reports success. */
int epoch_sync(struct epoch *e, int fd, bool datasync)
{
	uint64_t ino = file_number(fd);
	struct mutex *syncing = &e->syncing[ino % EPOCH_SYNCS];
	int err;

	mutex_lock(syncing);
	bool record = record_take(e, ino); /* a change of it from here on needs another sync */
	err = synced(e, (datasync && !record ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0);
	if (err && record)
		record_add(e, ino);
	if (err && epoch_trust(e) != 0)
		file_failed(e, ino);
	mutex_unlock(syncing);
	return err;
}

int epoch_sync_seen(struct epoch *e, int fd, bool datasync, uint32_t *seen)
{
	int err = epoch_sync(e, fd, datasync);
	uint64_t ino = file_number(fd);
	uint32_t now = __atomic_load_n(&e->failures, __ATOMIC_ACQUIRE);
	uint32_t before = __atomic_exchange_n(seen, now, __ATOMIC_ACQ_REL), last = 0;

	if (err || before == now)
		return err;
	mutex_lock(&e->lock);
	if (e->failed_files)
		last = GPOINTER_TO_UINT(g_hash_table_lookup(e->failed_files, &ino));
	last = MAX(last, e->failed_others);
	mutex_unlock(&e->lock);
	return last > before ? -EIO : 0;
}

int epoch_syncfs(struct epoch *e, int fd)
{
	return synced(e, syncfs(fd) < 0 ? -errno : 0);
}

void epoch_close_file(struct epoch *e, int fd)
{
	synced(e, close(fd) < 0 ? -errno : 0);
}

int epoch_trust(const struct epoch *e)
{
	return __atomic_load_n(&e->failed, __ATOMIC_ACQUIRE) ? -EIO : 0;
}

int epoch_end(struct epoch *e, int dir)
{
	int err = epoch_trust(e);

	if (err == 0 && !e->clean_on_disk)
		err = epoch_syncfs(e, dir);
	if (err == 0 && !e->clean_on_disk)
		err = epoch_write(e, true);
	epoch_close(e);
	return err;
}

void epoch_close(struct epoch *e)
{
	close(e->fd);
	if (e->failed_files)
		g_hash_table_unref(e->failed_files);
	g_hash_table_unref(e->records);
	for (int n = 0; n < EPOCH_SYNCS; n++)
		mutex_destroy(&e->syncing[n]);
	mutex_destroy(&e->lock);
}
