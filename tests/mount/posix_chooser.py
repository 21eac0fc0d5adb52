# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Which of posix_steps.py is done next, and with what: by a seeded generator and the names that
are there, so that most steps succeed and all errors come."""
import os
import stat

import calls

PAST = 1_500_000_000
TEAM = 2000
NAMES = ["a", "b", "c", "d", "e", "f", "g", "name with space", "\u00fcml\u00e4ut", "x" * 255]
TARGETS = ["a", "b", "../a", "d/e", "f0", "f1", "missing", "y" * 1000, "."]
MODES = [0o644, 0o600, 0o755, 0o400, 0o666, 0o000, 0o4755, 0o2755, 0o6711, 0o1777]
LIMIT = 3 << 20  # of a file's size
REFRESH = 40     # steps until the names are looked at again
CHUNK = 16384

# How often each is drawn
WEIGHTS = {
    "create": 8, "create_empty": 3, "write": 14, "append": 5, "replace": 3, "direct": 3, "mapped": 5,
    "truncate": 5, "ftruncate": 3, "allocate": 6, "copy": 4, "mkdir": 5, "rmdir": 2, "mknod": 2,
    "bind": 1, "symlink": 3, "link": 5, "unlink": 5, "rename": 12, "remove": 1, "chmod": 4,
    "chown": 3, "utimens": 4, "setxattr": 5, "removexattr": 2, "acl": 2, "tmpfile": 2, "read": 10,
    "whole": 5, "holes": 3, "look": 8, "listing": 5, "readlink": 1, "xattrs": 3, "access": 1,
    "fsync": 2, "lock": 1, "keep": 4, "drop": 3, "kept_read": 4, "kept_write": 6, "kept_append": 1,
    "kept_truncate": 2, "kept_chmod": 1, "kept_fsync": 1, "kept_stat": 3, "kept_utimens": 1,
}
KEPT = [n for n in WEIGHTS if n.startswith("kept_")] + ["keep", "drop"]


class Chooser:
    """Of one process: `root` is its tree on the native side, `top` its folder in both."""

    def __init__(self, choose, root, top, privileged, without=()):
        self.choose, self.root, self.top, self.privileged = choose, root, top, privileged
        self.names = [n for n in WEIGHTS if n not in without]
        self.weights = [WEIGHTS[n] for n in self.names]
        self.count, self.next, self.kept = 0, 0, []
        self.files, self.directories, self.others = [], [top], []

    def look_around(self):
        self.files, self.directories, self.others = [], [], []
        pending = [self.top]
        while pending:
            at = pending.pop()
            self.directories.append(at)
            try:
                entries = sorted(os.scandir(os.path.join(self.root, at)), key=lambda e: e.name)
            except OSError:
                continue
            for e in entries:
                path = os.path.join(at, e.name)
                if e.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif e.is_file(follow_symlinks=False):
                    self.files.append(path)
                else:
                    self.others.append(path)

    def draw(self):
        """(step, arguments)"""
        if self.count % REFRESH == 0:
            self.look_around()
        self.count += 1
        step = self.choose.choices(self.names, self.weights)[0]
        return step, getattr(self, "draw_" + step, self.draw_path)()

    # --- what arguments are made of

    def one_of(self, *values):
        return self.choose.choice(values)

    def new(self):
        """A name that may be free."""
        directory = self.choose.choice(self.directories[:12])
        if directory.count("/") > 5:
            directory = self.top
        return os.path.join(directory, self.choose.choice(NAMES[:7] if self.choose.random() < .8
                                                          else NAMES))

    def file(self):
        if self.files and self.choose.random() < .92:
            return self.choose.choice(self.files)
        return self.any()

    def any(self):
        pool = self.choose.choices([self.files, self.directories[1:], self.others], [5, 2, 1])[0]
        return self.choose.choice(pool) if pool and self.choose.random() < .95 else self.new()

    def directory(self):
        return self.choose.choice(self.directories) if self.choose.random() < .9 else self.any()

    def at(self):
        kind = self.choose.randrange(4)
        if kind == 0:
            return self.choose.randrange(LIMIT)
        if kind == 1:
            return max(0, self.choose.randrange(12) * CHUNK + self.one_of(-1, 0, 0, 1))
        return self.choose.randrange(200_000)

    def length(self):
        return self.one_of(1, 100, 4096, CHUNK, self.choose.randrange(30_000),
                           self.choose.randrange(250_000))

    def seed(self):
        return self.choose.randrange(10_000)

    def mode(self):
        return self.choose.choice(MODES[:4] if self.choose.random() < .8 else MODES)

    def number(self):
        return self.choose.choice(self.kept) if self.kept else 0

    # --- arguments by step

    def draw_path(self):
        return (self.any(),)

    def draw_create(self):
        flags = self.one_of(0, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_SYNC, os.O_NOFOLLOW)
        return self.new(), flags, self.mode(), self.seed(), self.length()

    def draw_create_empty(self):
        return self.new(), self.one_of(0, os.O_EXCL, os.O_TRUNC), self.mode()

    def draw_write(self):
        flags = self.one_of(0, 0, 0, os.O_SYNC, os.O_DSYNC, os.O_TRUNC)
        return self.file(), flags, self.at(), self.seed(), self.length()

    def draw_append(self):
        return self.file(), self.seed(), self.length()

    def draw_replace(self):
        path = self.file()
        # its temporary name must be one, too
        return path if len(os.path.basename(path)) < 200 else self.top + "/r", self.seed(), \
            self.length()

    def draw_direct(self):
        return self.file(), self.choose.randrange(60) * 4096, self.seed(), self.one_of(1, 2, 16)

    def draw_mapped(self):
        return self.file(), self.choose.randrange(160_000), self.seed(), self.length(), \
            self.choose.random() < .5

    def draw_truncate(self):
        return self.file(), self.one_of(0, 1, 4096, CHUNK, self.at(), self.at())

    def draw_ftruncate(self):
        return self.file(), self.at(), self.at()

    def draw_allocate(self):
        mode = self.one_of(0, calls.KEEP_SIZE, calls.ZERO_RANGE,
                           calls.ZERO_RANGE | calls.KEEP_SIZE,
                           calls.PUNCH_HOLE | calls.KEEP_SIZE, calls.PUNCH_HOLE | calls.KEEP_SIZE)
        return self.file(), mode, self.at(), self.length()

    def draw_copy(self):
        return self.file(), self.at(), self.file(), self.at(), self.length()

    def draw_mkdir(self):
        return self.new(), self.one_of(0o755, 0o755, 0o700, 0o2755, 0o1777)

    def draw_rmdir(self):
        return (self.directory(),)

    def draw_mknod(self):
        kinds = [(stat.S_IFIFO | 0o644, 0), (stat.S_IFREG | 0o644, 0), (0o600, 0)]
        if self.privileged:  # a device that nobody opens with effect
            kinds.append((stat.S_IFCHR | 0o600, os.makedev(1, 3)))
        return self.new(), *self.choose.choice(kinds)

    def draw_bind(self):
        return (self.new(),)

    def draw_symlink(self):
        return self.new(), self.choose.choice(TARGETS)

    def draw_link(self):
        return self.any(), self.new()

    def draw_unlink(self):
        return (self.any() if self.choose.random() < .5 else self.file(),)

    def draw_rename(self):
        new = self.new() if self.choose.random() < .6 else self.any()
        return self.any(), new, self.one_of(0, 0, 0, calls.NOREPLACE, calls.EXCHANGE)

    def draw_remove(self):
        return (self.choose.choice(self.directories[1:] or self.files or [self.top + "/a"]),)

    def draw_chmod(self):
        return self.any(), self.mode()

    def draw_chown(self):
        if self.privileged:
            return self.any(), self.one_of(-1, 0, 1000, 70_000), self.one_of(-1, 0, TEAM)
        return self.any(), self.one_of(-1, 1000, 0), self.one_of(-1, 1000, TEAM)

    def draw_utimens(self):
        return self.any(), self.choose.randrange(PAST - 10), self.choose.randrange(10**9)

    def draw_setxattr(self):
        spaces = ["user.", "user.", "trusted.", "security."] if self.privileged else ["user."]
        return self.any(), self.choose.choice(spaces) + self.one_of("x", "y", "a b"), self.seed(), \
            self.one_of(0, 1, 30, 300), self.one_of(0, 0, os.XATTR_CREATE, os.XATTR_REPLACE)

    def draw_removexattr(self):
        return self.any(), self.one_of("user.x", "user.y", "user.one", "user.missing")

    def draw_acl(self):
        which = self.one_of(calls.ACCESS, calls.ACCESS, calls.DEFAULT)
        return self.any(), which, self.one_of(6, 7), self.one_of(4, 6, 7), self.one_of(4, 6, 7), \
            self.one_of(0, 4)

    def draw_tmpfile(self):
        return self.new(), self.directory(), self.mode(), self.seed(), self.length()

    def draw_read(self):
        return self.file(), self.at(), self.length()

    def draw_whole(self):
        return (self.file(),)

    draw_holes = draw_fsync = draw_lock = draw_whole

    def draw_listing(self):
        return (self.directory(),)

    def draw_readlink(self):
        return (self.choose.choice(self.others or self.directories),)

    def draw_access(self):
        return self.any(), self.choose.randrange(1, 8)

    def draw_keep(self):
        if len(self.kept) >= 12:
            return self.number(), self.file(), os.O_RDONLY, 0o600
        self.next += 1
        self.kept.append(self.next)
        flags = self.one_of(os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_RDWR | os.O_CREAT,
                            os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_TRUNC)
        return self.next, self.file() if self.choose.random() < .8 else self.new(), flags, \
            self.mode()

    def draw_drop(self):
        number = self.number()
        if number in self.kept:
            self.kept.remove(number)
        return (number,)

    def draw_kept_read(self):
        return self.number(), self.at(), self.length()

    def draw_kept_write(self):
        return self.number(), self.at(), self.seed(), self.length()

    def draw_kept_append(self):
        return self.number(), self.seed(), self.length()

    def draw_kept_truncate(self):
        return self.number(), self.at()

    def draw_kept_chmod(self):
        return self.number(), self.mode()

    def draw_kept_fsync(self):
        return (self.number(),)

    draw_kept_stat = draw_kept_fsync

    def draw_kept_utimens(self):
        return self.number(), self.choose.randrange(PAST - 10)
