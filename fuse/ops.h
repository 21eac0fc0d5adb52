/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The operations, by what they are about; ops.c puts them into one table. Each replies once,
 * holding nothing. */
#pragma once
#include "fuse/inode.h"
#include "fuse/server.h"

extern const struct fuse_lowlevel_ops server_ops;

/* ops_name.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
/* ops_attr.c */
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* ops_dir.c */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi);
/* ops_file.c */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);

/* Names and attributes are cached until we say otherwise (notify.h) */
#define TIMEOUT_FOREVER (365.0 * 86400)
/* How long the kernel may go without asking about a directory: until its listing is due. */
double directory_timeout(struct server *s, struct inode *i);
void inode_stat(struct inode *i, struct stat *st);
void inode_entry(struct server *s, struct inode *i, struct fuse_entry_param *e);
/* The listing of `i`'s parent, referenced, and the entry of `i` in it. NULL: not there. */
struct listing *inode_listed(struct server *s, struct inode *i, uint32_t *index);
/* prefetch.c: a small file is being read from its start: fetch what comes next, too. */
void prefetch_siblings(struct server *s, struct inode *i);
