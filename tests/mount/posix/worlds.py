# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Where cases run: a native directory, and one long-lived mount for all that is compared with it.

Kinds:  native; in the mount born (made there), remote (never touched), partly (one chunk of each
        file fetched, all listed), whole (all fetched)
Mounts: one of root's with allow_other, for cases of root and of an ordinary user; one of that
        user's own ("alone"), who then runs all his cases in it
Hangs:  a case that does not end costs its mount: the daemon is killed and the store mounted anew
"""
import os
import pathlib
import shutil

import case
import kit
import mounting
from state import differences, left

OPTIONS = ("-o", "rw,readahead=0,prefetch=1M,chunk_size=16K")
KINDS = ("born", "remote", "partly", "whole")


class Worlds:
    def __init__(self, build, variant, scratch, outside, uid=None):
        self.scratch, self.uid, self.variant = pathlib.Path(scratch), uid, variant
        self.outside = pathlib.Path(outside)
        self.program = mounting.Program(build, variant, self.scratch)
        self.source = self.scratch / "source"
        self.mount, self.native_notes, self.hung = None, {}, 0
        for top in (self.scratch / "native", self.source, *(self.source / k for k in KINDS[1:])):
            top.mkdir()
            top.chmod(0o755)
        if uid is not None:
            self.program.give(uid)
            for top in (self.source, *self.source.iterdir()):
                os.chown(top, uid, uid)

    @staticmethod
    def folder(chosen, user):
        return f"{chosen.name}.{user}".replace("/", "_")[:200]

    def prepare(self, wanted):
        """The source of every (case, user, kind) that will run, before it is mounted."""
        for chosen, user, kind in wanted:
            if kind in KINDS[1:]:
                path = self.source / kind / self.folder(chosen, user)
                if not path.exists():
                    kit.make(path, chosen.needs, self.owner(user))

    @staticmethod
    def owner(user):
        return case.USER if user == "user" else None

    def ready(self):
        """The mount, made anew where it has died."""
        if self.mount is None:
            options = OPTIONS if self.uid else OPTIONS + ("-o", "allow_other")
            self.mount = self.program.mount(self.source, *options, user=self.uid)
            self.as_owner(lambda: (self.mount / "born").mkdir())
        elif self.mount.pid is None or not self.lives():
            self.mount.abandon()
            self.mount = self.mount.again()
        return self.mount

    def as_owner(self, call):
        return call() if self.uid is None else case.apart(call, self.uid)

    def lives(self):
        try:
            return self.as_owner(lambda: os.path.ismount(self.mount.path)
                                 and os.listdir(self.mount.path) != [])
        except OSError:
            return False

    def native(self, chosen, user):
        """Runs it natively, once: (notes, the tree it left)."""
        key = chosen.name, user
        if key not in self.native_notes:
            path = self.scratch / "native" / self.folder(chosen, user)
            kit.make(path, chosen.needs, self.owner(user))
            notes = case.perform(chosen, path, "native", user, self.outside)
            self.native_notes[key] = notes, self.as_owner(lambda: left(path))
            shutil.rmtree(path, ignore_errors=True)
        return self.native_notes[key]

    def mounted(self, chosen, user, kind):
        """The same in the mount; raises AssertionError where it differs."""
        assert self.hung < 20, "not tried after 20 cases that hung"
        m = self.ready()
        path = m / kind / self.folder(chosen, user)
        try:
            if kind == "born":
                self.as_owner(lambda: kit.make(path, chosen.needs, self.owner(user)))
            elif kind in ("partly", "whole"):
                self.as_owner(lambda: kit.touch(path, kind == "whole"))
            notes = case.perform(chosen, path, kind, user, self.outside)
            native_notes, native_left = self.native(chosen, user)
            assert notes == native_notes, \
                f"noted {different(notes, native_notes)}"
            if chosen.left:
                found = differences(native_left, self.as_owner(lambda: left(path)))
                assert not found, "it leaves another tree than natively:\n" + "\n".join(
                    found[:12])
        except case.Hung as e:
            self.hung += 1
            log = m.log()[-1500:]
            m.kill()
            raise AssertionError(f"hung: {e}\n{log}") from e
        except (AssertionError, OSError) as e:
            if not self.lives():
                raise AssertionError(f"{e}\nand the daemon died: {m.log()[-3000:]}") from e
            raise AssertionError(str(e)) from e

    def close(self):
        return self.program.close()


def different(got, wanted):
    """The first notes that are not the same."""
    for a, b in zip(got, wanted):
        if a != b:
            return f"{a!r:.600}, natively {b!r:.600}"
    return f"{len(got)} notes, natively {len(wanted)}"
