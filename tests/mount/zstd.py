# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""zstd frames, made by libzstd.so.1 as a program of another language would."""
import ctypes
import ctypes.util

_library = ctypes.util.find_library("zstd")
_zstd = ctypes.CDLL(_library) if _library else None
if _zstd:
    for _name in ("ZSTD_compress", "ZSTD_compressBound"):
        getattr(_zstd, _name).restype = ctypes.c_size_t


def compress(data, level=3):
    """bytes → one frame that says its content's size"""
    room = _zstd.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    out = ctypes.create_string_buffer(room)
    n = _zstd.ZSTD_compress(out, ctypes.c_size_t(room), data, ctypes.c_size_t(len(data)), level)
    return out.raw[:n]
