/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The replies to the kernel: libfuse's, counted before they are sent, so that their receiver finds
 * them counted. No file calls libfuse's own (tests/test_tree.py). */
#pragma once
#include <sys/uio.h>
#include "fuse/ops/meter.h"

static inline void reply_count(fuse_req_t req, int error, size_t bytes)
{
	const struct server *s = fuse_req_userdata(req);
	meter_end(s->meter, req, error, bytes);
}

static inline int reply_err(fuse_req_t req, int error)
{
	reply_count(req, error, 0);
	return fuse_reply_err(req, error);
}

/* Frees the request: a FORGET, or one that begins anew. */
static inline void reply_none(fuse_req_t req)
{
	const struct server *s = fuse_req_userdata(req);
	meter_drop(s->meter, req);
	fuse_reply_none(req);
}

static inline int reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	reply_count(req, 0, 0);
	return fuse_reply_entry(req, e);
}

static inline int reply_create(fuse_req_t req, const struct fuse_entry_param *e,
                               const struct fuse_file_info *fi)
{
	reply_count(req, 0, 0);
	return fuse_reply_create(req, e, fi);
}

static inline int reply_attr(fuse_req_t req, const struct stat *st, double timeout)
{
	reply_count(req, 0, 0);
	return fuse_reply_attr(req, st, timeout);
}

static inline int reply_statx(fuse_req_t req, int flags, struct statx *st, double timeout)
{
	reply_count(req, 0, 0);
	return fuse_reply_statx(req, flags, st, timeout);
}

static inline int reply_readlink(fuse_req_t req, const char *target)
{
	reply_count(req, 0, 0);
	return fuse_reply_readlink(req, target);
}

static inline int reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	reply_count(req, 0, 0);
	return fuse_reply_open(req, fi);
}

static inline int reply_write(fuse_req_t req, size_t bytes)
{
	reply_count(req, 0, bytes);
	return fuse_reply_write(req, bytes);
}

static inline int reply_buf(fuse_req_t req, const char *data, size_t bytes)
{
	reply_count(req, 0, bytes);
	return fuse_reply_buf(req, data, bytes);
}

static inline int reply_statfs(fuse_req_t req, const struct statvfs *st)
{
	reply_count(req, 0, 0);
	return fuse_reply_statfs(req, st);
}

static inline int reply_xattr(fuse_req_t req, size_t size)
{
	reply_count(req, 0, 0);
	return fuse_reply_xattr(req, size);
}

static inline int reply_ioctl(fuse_req_t req, int result, const void *data, size_t size)
{
	reply_count(req, 0, 0);
	return fuse_reply_ioctl(req, result, data, size);
}

static inline int reply_lseek(fuse_req_t req, off_t offset)
{
	reply_count(req, 0, 0);
	return fuse_reply_lseek(req, offset);
}
