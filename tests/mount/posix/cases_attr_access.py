# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""access, sticky and set-group-id directories, umasks."""
import calls

from case import *


@case("file dir readonly closed", users="user")
def access_of_the_owner(w):
    def of(name):
        return "".join(c for c, f in zip("rwx", (os.R_OK, os.W_OK, os.X_OK)) if os.access(name, f))
    same([of(n) for n in ("file", "dir", "readonly", "closed", "missing")],
         ["rw", "rwx", "r", "", ""])
    os.chmod("file", 0o111)
    same(of("file"), "x")


@case("file dir readonly", users="root")
def access_of_root(w):
    """May all, but execute what nobody may."""
    assert os.access("readonly", os.R_OK | os.W_OK)
    assert not os.access("file", os.X_OK)
    os.chmod("file", 0o001)
    assert os.access("file", os.X_OK)
    os.chmod("dir", 0)
    assert os.access("dir", os.R_OK | os.W_OK | os.X_OK)


@case(users="root")
def sticky_directories(w):
    """Only the owner of the entry, or of the directory, removes or renames it."""
    os.chmod(".", 0o777)
    os.mkdir("t")
    os.chmod("t", 0o1777)
    for uid in (USER, OTHER):
        as_user(lambda: (write(f"t/f{uid}"), os.mkdir(f"t/d{uid}")), uid)

    def others():
        same(outcome(os.unlink, f"t/f{OTHER}"), "EPERM")
        same(outcome(os.rmdir, f"t/d{OTHER}"), "EPERM")
        same(outcome(os.rename, f"t/f{OTHER}", "t/new"), "EPERM")
        same(outcome(os.rename, f"t/f{OTHER}", "new"), "EPERM")
        same(outcome(os.rename, f"t/f{USER}", f"t/f{OTHER}"), "EPERM")
        same(outcome(calls.renameat2, f"t/f{USER}", f"t/f{OTHER}", calls.EXCHANGE), "EPERM")
        os.rename(f"t/f{USER}", "t/mine")
        os.unlink("t/mine"), os.rmdir(f"t/d{USER}")
    as_user(others)
    same(sorted(os.listdir("t")), [f"d{OTHER}", f"f{OTHER}"])
    os.chown("t", USER, USER)
    as_user(lambda: os.unlink(f"t/f{OTHER}"))
    os.rmdir(f"t/d{OTHER}")


@case("sticky")
def sticky_of_ones_own(w):
    os.rename("sticky/inside", "sticky/new")
    os.unlink("sticky/new")
    os.rmdir("sticky")


@case(users="root")
def setgid_directories(w):
    """Their group and, for directories, the bit are inherited."""
    os.mkdir("g")
    os.chown("g", 0, STRANGE)
    os.chmod("g", 0o2777)

    def make():
        os.umask(0)
        opened("g/f", os.O_CREAT | os.O_WRONLY, 0o666)
        os.mkdir("g/d", 0o755), os.mkfifo("g/p"), os.symlink("x", "g/l")
        opened("g/x", os.O_CREAT | os.O_WRONLY, 0o2775)  # group execute: the bit is not for us
        opened("g/y", os.O_CREAT | os.O_WRONLY, 0o2664)
        opened("g/d/f", os.O_CREAT | os.O_WRONLY, 0o666)
    as_user(make)
    for name in ("f", "d", "p", "l", "x", "y", "d/f"):
        st = os.lstat(f"g/{name}")
        same((st.st_uid, st.st_gid), (USER, STRANGE), name)
    same((mode_of("g/d"), mode_of("g/f"), mode_of("g/x")), (0o2755, 0o666, 0o775))
    w.note(mode_of("g/y"))
    os.mkdir("g/root")
    same((os.stat("g/root").st_gid, mode_of("g/root")), (STRANGE, 0o2755))


@case("shared")
def setgid_is_inherited_here(w):
    os.chown("shared", -1, TEAM)
    os.chmod("shared", 0o2775)
    os.mkdir("shared/d"), write("shared/f")
    same((os.stat("shared/d").st_gid, mode_of("shared/d") & 0o2000), (TEAM, 0o2000))
    same(os.stat("shared/f").st_gid, TEAM)
    write("f")
    os.rename("f", "shared/moved")  # a rename inherits nothing
    same(os.stat("shared/moved").st_gid, os.getgid())


@case()
def umasks(w):
    for mask in (0, 0o022, 0o077, 0o777, 0o027):
        os.umask(mask)
        opened(f"f{mask}", os.O_CREAT | os.O_WRONLY, 0o777)
        os.mkdir(f"d{mask}", 0o777), os.mkfifo(f"p{mask}", 0o666), os.symlink("x", f"l{mask}")
        same([mode_of(f"{k}{mask}") for k in "fdpl"],
             [0o777 & ~mask, 0o777 & ~mask, 0o666 & ~mask, 0o777])
