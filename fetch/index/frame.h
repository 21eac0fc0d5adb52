/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The frames of a pack (format.h): content of at most FRAME_SIZE bytes, and how it is stored.
 * Trust:   frame_unpack() believes nothing: it writes `size` bytes, or fails
 * Errors:  FETCH_PROTOCOL for a frame that is not what the index says; ENOSYS, ENOMEM as
 * LOCAL_ERROR
 */
#pragma once
#include "fetch/base/error.h"
#include "fetch/index/format.h"

/* Built with libzstd? */
bool frame_usable(void);
/* false, with an error that says that it was not. */
bool frame_demand(GError **error);

struct frame_packer;
struct frame_packer *frame_packer_new(void);
void frame_packer_free(struct frame_packer *p);
/* Compresses `size` bytes into `out`, which has room for as many. The size stored; *codec:
 * FRAME_STORED: a copy, since nothing would be gained. */
size_t frame_pack(struct frame_packer *p, const void *content, size_t size, void *out,
                  enum frame_codec *codec);
/* The content of exactly `size` bytes, from exactly `stored` bytes. */
bool frame_unpack(uint32_t codec, const void *data, size_t stored, void *out, size_t size,
                  GError **error);
