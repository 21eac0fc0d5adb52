# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""liblacuna.so as any program has it, called from here; results are what the C functions return."""
import ctypes as c
import pathlib

MOUNT, CHILDREN, FILE = 1, 2, 3
ADD, REMOVE, IGNORE, FLUSH = 1, 2, 4, 8
ALLOW, FETCH, DENY = 1, 2, 3
HOLES, EVERY = 0, 1


class Options(c.Structure):
    _fields_ = [("size", c.c_size_t), ("mode", c.c_uint32), ("class_", c.c_uint32),
                ("name", c.c_char_p), ("backlog", c.c_uint32)]


class Request(c.Structure):
    _fields_ = [("id", c.c_uint64), ("offset", c.c_uint64), ("length", c.c_uint64),
                ("size", c.c_uint64), ("ino", c.c_uint64), ("operation", c.c_uint32),
                ("flags", c.c_uint32), ("pid", c.c_uint32), ("tid", c.c_uint32),
                ("uid", c.c_uint32), ("fd", c.c_int), ("path", c.c_char_p)]


def load(build):
    lib = c.CDLL(pathlib.Path(build).resolve() / "lib" / "liblacuna.so.0")
    lib.lacuna_refusals.restype = c.c_uint64
    for name in ("close", "fd", "mark", "mark_fd", "mark_ino", "next", "respond", "refusals",
                 "stop"):
        getattr(lib, f"lacuna_{name}").argtypes = {
            "close": [c.c_void_p, c.c_int],
            "mark": [c.c_void_p, c.c_uint, c.c_uint, c.c_char_p],
            "mark_fd": [c.c_void_p, c.c_uint, c.c_uint, c.c_int],
            "mark_ino": [c.c_void_p, c.c_uint, c.c_uint, c.c_uint64],
            "next": [c.c_void_p, c.c_int, c.POINTER(c.POINTER(Request))],
            "respond": [c.c_void_p, c.POINTER(Request), c.c_uint, c.c_int],
        }.get(name, [c.c_void_p])
    return lib


class Handler:
    """OSError if it cannot attach. `lost`: how it is closed at the end of a with."""

    def __init__(self, lib, path, mode=HOLES, class_=0, name=None, backlog=0, size=None):
        self.lib, self.handle, self.lost = lib, c.c_void_p(), 0
        options = Options(c.sizeof(Options) if size is None else size, mode, class_,
                          None if name is None else name.encode(), backlog)
        inherited = c.c_int(-1)
        got = lib.lacuna_attach(bytes(path), c.byref(options), c.byref(self.handle),
                                c.byref(inherited))
        if got != 0:
            raise OSError(-got, "lacuna_attach")
        self.inherited = inherited.value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close(self.lost)

    def close(self, lost=0):
        if self.handle:
            self.lib.lacuna_close(self.handle, lost)
        self.handle = None

    def mark(self, flags, scope, path=None):
        return self.lib.lacuna_mark(self.handle, flags, scope, path and bytes(path))

    def mark_fd(self, flags, scope, fd):
        return self.lib.lacuna_mark_fd(self.handle, flags, scope, fd)

    def mark_ino(self, flags, scope, ino):
        return self.lib.lacuna_mark_ino(self.handle, flags, scope, ino)

    def fd(self):
        return self.lib.lacuna_fd(self.handle)

    def refusals(self):
        return self.lib.lacuna_refusals(self.handle)

    def stop(self):
        self.lib.lacuna_stop(self.handle)

    def next(self, timeout_ms=10000):
        """A Request, or the negative errno."""
        request = c.POINTER(Request)()
        got = self.lib.lacuna_next(self.handle, timeout_ms, c.byref(request))
        return got if got != 0 else request.contents

    def respond(self, request, verdict, error=0):
        return self.lib.lacuna_respond(self.handle, c.byref(request), verdict, error)
