/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include "fetch/base/nanoseconds.h"
#include "fetch/store/disk/space.h"
#include "fuse/inode/access.h"
#include "fuse/inode/twin.h"
#include "fuse/ops/ops.h"
#include "fuse/ops/parked.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/setid.h"

/* How long the kernel may cache a directory's attributes: until its listing is due. */
static double directory_timeout(struct server *s, struct inode *i)
{
	if (s->settings->listing_ttl_ms == UINT_MAX)
		return TIMEOUT_FOREVER;
	double ttl = s->settings->listing_ttl_ms / 1e3, left = ttl;
	mutex_lock(&i->lock);
	struct directory *d = i->directory;
	mutex_unlock(&i->lock);
	struct listing *l = d ? directory_listing(d, NULL) : NULL;
	if (l) {
		left = ttl - (clock_realtime() - listing_checked(l)) / 1e9;
		listing_unref(l);
	}
	/* A listing that stays stale, because the source is unreachable, is requested again
	 * soon. */
	return CLAMP(left, MIN(ttl, 1.0), ttl);
}

double name_timeout(const struct server *s, const struct inode *i)
{
	return s->settings->listing_ttl_ms == 0 && !i->born ? 0 : TIMEOUT_FOREVER;
}

static double inode_timeout(struct server *s, struct inode *i)
{
	if (S_ISDIR(i->type)) /* its listing tells how many links it has */
		return i->local && !i->born && !i->counted ? 0 : directory_timeout(s, i);
	mutex_lock(&i->lock);
	/* stores of a mapping in passthrough are not reported */
	bool moving = i->iomode == IOMODE_PASSTHROUGH && i->extra &&
	              write_handles_is_written(&i->extra->handles);
	mutex_unlock(&i->lock);
	return moving ? 0 : TIMEOUT_FOREVER;
}

static void inode_tell(struct inode *i, struct stat *st)
{
	mutex_lock(&i->lock);
	i->resend_size -= i->resend_size > 0;
	mutex_unlock(&i->lock);
	inode_stat(i, st);
}

void inode_entry(struct server *s, struct inode *i, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.ino = inode_id(i), .entry_timeout = name_timeout(s, i)};
	e->attr_timeout = inode_timeout(s, i);
	inode_tell(i, &e->attr);
}

static void attr_reply(struct parked *p, struct listing *listing)
{
	struct inode *i = p->inode;
	struct stat st;
	if (listing && !i->counted)
		inode_refresh(p->server, i);
	inode_tell(i, &st);
	reply_attr(p->req, &st, inode_timeout(p->server, i));
	parked_free(p);
}

/* A directory's own attributes do not depend on its listing. */
static void attr_fail(struct parked *p, int error)
{
	struct stat st;
	inode_stat(p->inode, &st);
	if (error == EINTR)
		reply_err(p->req, EINTR);
	else
		reply_attr(p->req, &st, directory_timeout(p->server, p->inode));
}

/* With default_permissions the kernel asks for a directory's attributes before it uses any name in
 * it, once they have timed out: this keeps names as fresh as the listing. */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	if (!i) {
		reply_err(req, ESTALE);
		return;
	}
	int err = inode_refresh(s, i);
	if (err) {
		replay_fail(req, err);
		inode_put(s, i);
		return;
	}
	struct parked *p = parked_new(s, req, i, NULL);
	p->resume = attr_reply;
	p->fail = attr_fail;
	struct listing *l = NULL;
	bool fresh = true;
	struct directory *d = NULL;
	if (S_ISDIR(i->type)) {
		mutex_lock(&i->lock);
		d = i->directory;
		bool uncounted = i->local && !i->born && !i->nameless && !i->counted;
		mutex_unlock(&i->lock);
		if (uncounted)
			d = inode_open_directory(s, i);
		l = d ? directory_listing(d, &fresh) : NULL;
		fresh = fresh && !(uncounted && !l);
	}
	if (!fresh)
		parked_list(p, d);
	else
		attr_reply(p, NULL);
	if (l)
		listing_unref(l);
}

static struct statx_timestamp timestamp_of(struct timespec t)
{
	return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec};
}

/* The birth time of a local object; of a remote one its mtime, the first known time. */
static struct statx_timestamp birth_of(struct server *s, struct inode *i, const struct stat *st)
{
	struct statx sx = {0};
	if (i->local) {
		struct way w;
		way_to(s, i, &w);
		tree_statx(s->store, w.path, &sx);
		way_end(s, &w);
	}
	return sx.stx_mask & STATX_BTIME ? sx.stx_btime : timestamp_of(st->st_mtim);
}

void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	int err = i ? inode_refresh(s, i) : ESTALE;
	if (err) {
		replay_fail(req, err);
		inode_put(s, i);
		return;
	}
	struct stat st;
	inode_stat(i, &st);
	struct statx sx = {
	        .stx_mask = STATX_BASIC_STATS | STATX_BTIME,
	        .stx_blksize = st.st_blksize,
	        .stx_nlink = st.st_nlink,
	        .stx_uid = st.st_uid,
	        .stx_gid = st.st_gid,
	        .stx_mode = st.st_mode,
	        .stx_ino = st.st_ino,
	        .stx_size = st.st_size,
	        .stx_blocks = st.st_blocks,
	        .stx_atime = timestamp_of(st.st_atim),
	        .stx_btime = birth_of(s, i, &st),
	        .stx_ctime = timestamp_of(st.st_ctim),
	        .stx_mtime = timestamp_of(st.st_mtim),
	        .stx_rdev_major = major(st.st_rdev),
	        .stx_rdev_minor = minor(st.st_rdev),
	};
	reply_statx(req, 0, &sx, inode_timeout(s, i));
	inode_put(s, i);
}

static int times_set(struct server *s, struct inode *i, const struct timespec times[2])
{
	if (S_ISREG(i->type) && !i->born) {
		struct content *c = inode_open_content(s, i);
		int err = content_open(c);
		if (err == 0)
			err = content_utimens(c, times);
		content_unref(c);
		return err;
	}
	struct way w;
	way_to(s, i, &w);
	int err = tree_utimens(s->store, w.path, times);
	way_end(s, &w);
	return err;
}

static int owner_and_mode_set(struct server *s, struct inode *i, const struct stat *attr,
                              int to_set)
{
	struct way w;
	way_to(s, i, &w);
	int err = tree_own(s->store, w.path,
	                   to_set & FUSE_SET_ATTR_MODE ? attr->st_mode & 07777 : UINT32_MAX,
	                   to_set & FUSE_SET_ATTR_UID ? attr->st_uid : UINT32_MAX,
	                   to_set & FUSE_SET_ATTR_GID ? attr->st_gid : UINT32_MAX);
	way_end(s, &w);
	return err;
}

/* Everything but the size. A positive errno. */
static int attributes_set(struct server *s, struct inode *i, const struct stat *attr, int to_set)
{
	int err = 0;
	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_MODE))
		err = owner_and_mode_set(s, i, attr, to_set);
	if (err == 0 && (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
		if (to_set & FUSE_SET_ATTR_ATIME)
			times[0] = attr->st_atim;
		if (to_set & FUSE_SET_ATTR_ATIME_NOW)
			times[0].tv_nsec = UTIME_NOW;
		if (to_set & FUSE_SET_ATTR_MTIME)
			times[1] = attr->st_mtim;
		if (to_set & FUSE_SET_ATTR_MTIME_NOW)
			times[1].tv_nsec = UTIME_NOW;
		err = times_set(s, i, times);
	}
	return -err;
}

struct setting {
	struct stat attr;
	int to_set;
};

/* Frees nothing. */
static void setattr_end(fuse_req_t req, struct inode *i, const struct stat *attr, int to_set)
{
	struct server *s = fuse_req_userdata(req);
	int err = attributes_set(s, i, attr, to_set);
	inode_changed(i);
	if (err == 0)
		err = inode_refresh(s, i);
	if (err) {
		replay_fail(req, err);
		return;
	}
	struct stat st;
	inode_stat(i, &st);
	reply_attr(req, &st, S_ISDIR(i->type) ? directory_timeout(s, i) : TIMEOUT_FOREVER);
}

/* For a directory that was removed, but still is a process's working directory. */
static void removed_set(fuse_req_t req, struct inode *i, const struct stat *attr, int to_set)
{
	mutex_lock(&i->lock);
	if (to_set & FUSE_SET_ATTR_MODE)
		i->mode = i->type | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		i->uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		i->gid = attr->st_gid;
	if (to_set & FUSE_SET_ATTR_MTIME)
		i->mtime_ns = nanoseconds(attr->st_mtim);
	mutex_unlock(&i->lock);
	struct stat st;
	inode_stat(i, &st);
	reply_attr(req, &st, TIMEOUT_FOREVER);
}

static int cut(struct parked *p, int fd, off_t size)
{
	access_begin(p->server);
	int err = access_resize(p->server, p->inode, size);
	if (err == 0 && ftruncate(fd, size) < 0)
		err = errno;
	access_end(p->server);
	return err;
}

static void truncate_then(struct parked *p, int fd)
{
	struct setting *set = p->data;
	int err = fd >= 0 ? cut(p, fd, set->attr.st_size) : 0;
	if (err) {
		replay_fail(p->req, err);
		return;
	}
	inode_cut(p->inode, set->attr.st_size);
	twin_changed(p->server, p->inode);
	setattr_end(p->req, p->inode, &set->attr, set->to_set);
}

/* An empty SETATTR announces a change of data. */
static void setid_take(fuse_req_t req, struct inode *i, struct stat *attr, int *to_set)
{
	bool takes = *to_set & (FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID);
	if ((*to_set & FUSE_SET_ATTR_MODE) || (!takes && *to_set))
		return;
	uint32_t left;
	bool stays = !takes && (replay_is_done() || setid_stays(req, i));
	if (stays)
		replay_set_done(); /* this can be asked but once */
	if (stays || !setid_goes(req, i, &left))
		return;
	attr->st_mode = left;
	*to_set |= FUSE_SET_ATTR_MODE;
}

static int discard(struct server *s, struct inode *i)
{
	access_begin(s);
	int err = access_resize(s, i, 0);
	if (err == 0)
		err = inode_discard_bytes(s, i);
	access_end(s);
	return err;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct inode *i = inode_get(s->inodes, ino);
	if (i && S_ISDIR(i->type) && i->nameless) {
		removed_set(req, i, attr, to_set);
		inode_put(s, i);
		return;
	}
	int err = !i ? ESTALE : s->read_only ? EROFS : inode_keep(s, i);
	bool size = to_set & FUSE_SET_ATTR_SIZE;
	if (err == 0)
		setid_take(req, i, attr, &to_set);
	if (err == 0 && size && !S_ISREG(i->type))
		err = EINVAL;
	if (err == 0 && size && !fi)
		err = access_truncate(s, i, attr->st_size);
	else if (err == 0 && size)
		err = access_resize(s, i, attr->st_size);
	if (err == 0 && (to_set & FUSE_SET_ATTR_MODE))
		err = access_chmod(i, attr->st_mode & 07777);
	if (err == 0 && size && attr->st_size == 0)
		err = discard(s, i);
	if (err == 0 && size) {
		struct parked *p = parked_new(s, req, i, NULL);
		struct setting *set = g_new(struct setting, 1);
		set->attr = *attr;
		set->to_set = to_set;
		p->data = set;
		p->then = truncate_then;
		parked_truncate(p, attr->st_size);
		return;
	}
	if (err)
		replay_fail(req, err);
	else
		setattr_end(req, i, attr, to_set);
	inode_put(s, i);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct server *s = fuse_req_userdata(req);
	struct statvfs st;
	if (fstatvfs(store_root_fd(s->store), &st) < 0) {
		reply_err(req, errno);
		return;
	}
	/* Evictable data counts as available. */
	struct space_use use;
	store_space_use(s->store, &use);
	fsblkcnt_t spare = use.known ? use.fetched / st.f_frsize : 0;
	spare = MIN(spare, st.f_blocks - MIN(st.f_bfree, st.f_blocks));
	st.f_bfree += spare;
	st.f_bavail += spare;
	st.f_namemax = 255;
	reply_statfs(req, &st);
}
