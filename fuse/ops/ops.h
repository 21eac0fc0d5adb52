/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The operations, by subject; ops.c puts them into one table. Each replies once,
 * holding nothing. */
#pragma once
#include "fuse/inode/inode_content.h"
#include "fuse/inode/inode_table.h"
#include "fuse/inode/local.h"
#include "fuse/inode/names.h"
#include "fuse/inode/server.h"
#include "fuse/inode/ways.h"

extern const struct fuse_lowlevel_ops server_ops;

/* ops_make.c */
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
/* ops_remove.c, ops_rename.c */
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned int flags);
/* ops_watched.c: the same operations, after asking handlers of mode every */
void watched_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                  struct fuse_file_info *fi);
void watched_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t offset,
                       struct fuse_file_info *fi);
void watched_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                       struct fuse_file_info *fi);
void watched_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                     struct fuse_file_info *fi);
void watched_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t offset,
                             struct fuse_file_info *fi, fuse_ino_t ino_out, off_t offset_out,
                             struct fuse_file_info *fi_out, size_t length, int flags);
/* ops_write.c */
void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *data, off_t offset,
                  struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  struct fuse_file_info *fi);
void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t length, int flags);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* ops_ioctl.c */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
              struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
              size_t out_size);
/* ops_xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
/* ops_name.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
/* ops_attr.c */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* ops_dir.c */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi);
/* ops_file.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* The content of `i`, a reference; a negative errno in *err where the store fails. `open`: the file
 * is open already, and may have pages; else the open drops them. */
struct content *inode_content(struct server *s, struct inode *i, bool open, int *err);
/* ops_read.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);

struct handle;
/* ops_write.c: the local file of `h`, reopened if it was closed, until handle_local_done(); -errno.
 */
int handle_local_fd(struct server *s, struct handle *h);
void handle_local_done(struct server *s, struct handle *h);

/* The kernel caches names and attributes until a notice (notify.h) */
#define TIMEOUT_FOREVER (365.0 * 86400)
/* How long the kernel caches a name of `i`, or a negative one in the directory `i`: until a notice,
 * which follows a new listing; not at all with listing_ttl=0. */
double name_timeout(const struct server *s, const struct inode *i);
void inode_entry(struct server *s, struct inode *i, struct fuse_entry_param *e);
/* Replies with an entry that was looked up; takes the reference. */
void entry_reply(struct server *s, fuse_req_t req, struct inode *i);
/* change.c: makes the file fully local. The first is for a truncation to 0; the second needs every
 * chunk present, and is durable. Blocks. */
int inode_discard_bytes(struct server *s, struct inode *i);
int inode_own_bytes(struct server *s, struct inode *i);
/* The inode of a name, local or remote, in a listed directory: a reference, or NULL and a positive
 * errno. *number (may be NULL): st_ino of the local object; unchanged for a remote name. */
struct inode *child_known(struct server *s, struct inode *dir, const char *name, uint64_t *number,
                          int *err);
/* Marks the name as gone, if it is a remote one. A positive errno. */
int name_hide(struct server *s, struct inode *dir, const char *name);
/* prefetch.c: a small file is being read from its start: fetches its next siblings, too. */
void prefetch_siblings(struct server *s, struct inode *i);
