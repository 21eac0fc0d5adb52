/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

#include "fuse/ops/ops.h"
#include <errno.h>
#include "fuse/inode/backing.h"
#include "fuse/ops/reply.h"
#include "fuse/ops/session.h"

static bool want(struct fuse_conn_info *conn, uint64_t capability)
{
	return fuse_set_feature_flag(conn, capability);
}

/* The kernel stacks two file systems, and takes a mount with passthrough for one or, over a store
 * on overlayfs, for two. Returns why there is no passthrough, or NULL. */
static const char *stacking(struct server *s, unsigned *depth)
{
	bool stacked = store_stacked(s->store), automatic = s->settings->overlays == OVERLAYS_AUTO;
	unsigned overlays = automatic ? !stacked : s->settings->overlays;
	*depth = stacked ? 1 : 0;
	if (stacked && automatic)
		g_message("the store lies on overlayfs: with passthrough no overlay can be "
		          "mounted over this mount; -o overlays=1 allows it, without passthrough");
	if (overlays + stacked < 2)
		return NULL;
	return stacked ? "the store lies on overlayfs, and -o overlays= leaves no layer for it"
	               : "switched off by -o overlays=2";
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *s = userdata;
	unsigned depth = 0;
	/* libfuse's default would truncate a running program before the kernel refuses it */
	fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	/* The daemon reports all its changes: the kernel need not guess from the mtime */
	fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	/* The kernel would ask for the attributes of the first names of a directory only, and look
	 * the others up, one by one: find -ls of 1,000,000 files 29.5 us a file, so 7.2 */
	if (s->indexed)
		fuse_unset_feature_flag(conn, FUSE_CAP_READDIRPLUS_AUTO);
	want(conn, FUSE_CAP_NO_OPENDIR_SUPPORT);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	want(conn, FUSE_CAP_CACHE_SYMLINKS);
	/* The umask is applied where a directory's default ACL can overrule it */
	want(conn, FUSE_CAP_DONT_MASK);
	if (!s->read_only)
		want(conn, FUSE_CAP_POSIX_ACL);
	/* Otherwise each write asks for security.capability */
	if (!s->read_only)
		want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	want(conn, FUSE_CAP_IOCTL_DIR);
	/* A file handle is a node id, which is invalid once the kernel has forgotten it */
	want(conn, FUSE_CAP_NO_EXPORT_SUPPORT);
	/* The kernel sends no interrupt for these, and waits even if the caller is killed */
	fuse_unset_feature_flag(conn, FUSE_CAP_ASYNC_DIO);
	/* For files that a handler is asked about at each operation */
	want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
	/* Readahead that waits for the network must not hold up reads of present data */
	conn->max_background = 1024;
	conn->congestion_threshold = 1024;
	/* libfuse's limit is in pages, which may be 64 KiB; the session's buffer is not */
	conn->max_write = MIN(conn->max_write, 1u << 20);

	const char *unusable =
	        s->settings->passthrough ? stacking(s, &depth) : "switched off (-o passthrough=no)";
	if (!unusable && !want(conn, FUSE_CAP_PASSTHROUGH))
		unusable = "the kernel has no FUSE passthrough (6.9 or later has)";
	else if (!unusable)
		conn->max_backing_stack_depth = depth;
	session_connected(s, unusable);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	/* With NO_OPENDIR_SUPPORT: never asked again, and the kernel keeps directories' contents */
	reply_err(req, ENOSYS);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	reply_err(req, ENOSYS); /* never asked again */
}

const struct fuse_lowlevel_ops server_ops = {
        .init = op_init,
        .lookup = op_lookup,
        .forget = op_forget,
        .forget_multi = op_forget_multi,
        .getattr = op_getattr,
        .readlink = op_readlink,
        .getxattr = op_getxattr,
        .listxattr = op_listxattr,
        .statx = op_statx,
        .statfs = op_statfs,
        .opendir = op_opendir,
        .readdir = op_readdir,
        .readdirplus = op_readdirplus,
        .open = op_open,
        .read = watched_read,
        .lseek = op_lseek,
        .flush = op_flush,
        .release = op_release,
        .setattr = watched_setattr,
        .mknod = op_mknod,
        .mkdir = op_mkdir,
        .unlink = op_unlink,
        .rmdir = op_rmdir,
        .symlink = op_symlink,
        .rename = op_rename,
        .link = op_link,
        .setxattr = op_setxattr,
        .removexattr = op_removexattr,
        .create = op_create,
        .tmpfile = op_tmpfile,
        .write_buf = watched_write_buf,
        .ioctl = op_ioctl,
        .copy_file_range = watched_copy_file_range,
        .fsync = op_fsync,
        .fsyncdir = op_fsyncdir,
        .fallocate = watched_fallocate,
};
