# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""POSIX ACLs."""
import calls
import subprocess

from calls import ACCESS, DEFAULT, GROUP, GROUP_OBJ, MASK, USER_OBJ, acl_get, acl_set
from calls import OTHER as OTHERS
from calls import USER as NAMED
from case import *


def entries(user=6, named=6, group=4, mask=6, others=0, who=OTHER):
    return [(USER_OBJ, user), (NAMED, named, who), (GROUP_OBJ, group), (MASK, mask),
            (OTHERS, others)]


def may(uid, groups=()):
    """What `uid` may do with "file"."""
    def probe():
        return "".join(c if outcome(opened, "file", f) == "ok" else "-"
                       for c, f in (("r", os.O_RDONLY), ("w", os.O_WRONLY)))
    return apart(probe, uid, uid, groups)


GRANTS = [(6, 6, 6, 6, "rw"), (6, 6, 4, 6, "r-"), (6, 4, 6, 6, "r-"), (6, 0, 6, 6, "--"),
          (6, 6, 0, 6, "rw"),  # with an empty mask Linux asks the mode alone
          (6, 2, 6, 6, "-w"), (6, 6, 0, 0, "--"), (6, 6, 2, 0, "-w"), (0, 6, 6, 0, "rw")]


def granted(user, named, mask, others, wanted):
    def run(w):
        acl_set("file", ACCESS, entries(user, named, 4, mask, others))
        same(acl_get("file", ACCESS), entries(user, named, 4, mask, others))
        same(mode_of("file"), user << 6 | mask << 3 | others)
        same(may(OTHER), wanted)
        same(may(STRANGE), "".join(c if others & b else "-" for c, b in (("r", 4), ("w", 2))))
    return run


for _user, _named, _mask, _others, _wanted in GRANTS:
    add(f"acl.granted-{_user}{_named}{_mask}{_others}",
        granted(_user, _named, _mask, _others, _wanted), "file", "root")


@case("file", users="root")
def acl_of_groups(w):
    acl_set("file", ACCESS, [(USER_OBJ, 6), (GROUP_OBJ, 0), (GROUP, 4, TEAM), (GROUP, 2, STRANGE),
                             (MASK, 6), (OTHERS, 0)])
    same((may(USER, (TEAM,)), may(USER, (STRANGE,)), may(USER, (TEAM, STRANGE)), may(USER)),
         ("r-", "-w", "rw", "--"))
    os.chmod("file", 0o640)
    same((may(USER, (TEAM,)), may(USER, (STRANGE,))), ("r-", "--"))


@case("acl")
def acl_that_was_there(w):
    same(acl_get("acl", ACCESS), entries())
    same(mode_of("acl"), 0o660)
    same(os.listxattr("acl"), [ACCESS])
    same(read("acl"), b"acl")
    if w.root:
        os.rename("acl", "file")
        same((may(OTHER), may(STRANGE)), ("rw", "--"))
        os.rename("file", "acl")
    write("acl", b"changed")
    os.rename("acl", "moved")
    same(acl_get("moved", ACCESS), entries())
    os.removexattr("moved", ACCESS)
    same(os.listxattr("moved"), [])
    # ext4 keeps the group bits, which were the mask's
    w.note(mode_of("moved"))


@case("file")
def chmod_changes_the_mask(w):
    acl_set("file", ACCESS, entries())
    for mode in (0o640, 0o600, 0o777, 0o664, 0o4750):
        os.chmod("file", mode)
        same(acl_get("file", ACCESS),
             [(USER_OBJ, mode >> 6 & 7), (NAMED, 6, OTHER), (GROUP_OBJ, 4), (MASK, mode >> 3 & 7),
              (OTHERS, mode & 7)])
        same(mode_of("file"), mode)


@case("file")
def a_minimal_acl_is_the_mode(w):
    acl_set("file", ACCESS, [(USER_OBJ, 7), (GROUP_OBJ, 5), (OTHERS, 1)])
    same(mode_of("file"), 0o751)
    same(os.listxattr("file"), [])
    fails("ENODATA", os.getxattr, "file", ACCESS)
    acl_set("file", ACCESS, entries())
    acl_set("file", ACCESS, [(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHERS, 4)])
    same((mode_of("file"), os.listxattr("file")), (0o644, []))


BAD_ACLS = {"empty": [], "no mask": [(USER_OBJ, 6), (NAMED, 6, 5), (GROUP_OBJ, 4), (OTHERS, 0)],
            "no owner": [(GROUP_OBJ, 4), (OTHERS, 0)], "order": [(OTHERS, 0), (USER_OBJ, 6),
                                                               (GROUP_OBJ, 4)],
            "twice": [(USER_OBJ, 6), (USER_OBJ, 6), (GROUP_OBJ, 4), (OTHERS, 0)],
            "permission": [(USER_OBJ, 8), (GROUP_OBJ, 4), (OTHERS, 0)],
            "tag": [(USER_OBJ, 6), (GROUP_OBJ, 4), (3, 4), (OTHERS, 0)]}


@case("file dir")
def bad_acls(w):
    for what, acl in BAD_ACLS.items():
        w.note(what, outcome(acl_set, "file", ACCESS, acl), outcome(acl_set, "dir", DEFAULT, acl))
        if what != "empty":
            fails("EINVAL", acl_set, "file", ACCESS, acl)
    fails("EINVAL|EOPNOTSUPP", os.setxattr, "file", ACCESS, b"\x01\0\0\0")
    fails("EINVAL", os.setxattr, "file", ACCESS, b"\x02\0\0\0\x01")
    same((mode_of("file"), os.listxattr("file")), (0o644, []))


@case("file dir fifo symlink dangling")
def acl_errors(w):
    fails("EACCES", acl_set, "file", DEFAULT, entries())
    fails("EOPNOTSUPP", acl_set, "symlink", ACCESS, entries(), follow_symlinks=False)
    fails("ENODATA", os.getxattr, "file", ACCESS)
    fails("ENODATA", os.getxattr, "dir", DEFAULT)
    acl_set("fifo", ACCESS, entries())
    same(acl_get("fifo", ACCESS), entries())
    w.note(outcome(os.removexattr, "file", ACCESS), outcome(os.removexattr, "dir", DEFAULT))


@case("file dir", users="root")
def acl_is_the_owners(w):
    same(as_user(lambda: outcome(acl_set, "file", ACCESS, entries())), "EPERM")
    acl_set("file", ACCESS, entries())
    same(as_user(lambda: outcome(os.removexattr, "file", ACCESS)), "EPERM")
    same(as_user(lambda: acl_get("file", ACCESS), OTHER), entries())


def inherited(maker, wanted_mode, mode_argument):
    def run(w):
        os.umask(0o077)  # a default ACL takes its place
        maker("acldir/new", mode_argument)
        same(mode_of("acldir/new"), wanted_mode)
        perms = wanted_mode
        same(acl_get("acldir/new", ACCESS),
             [(USER_OBJ, perms >> 6 & 7), (NAMED, 7, OTHER), (GROUP_OBJ, 5), (MASK, perms >> 3 & 7),
              (OTHERS, perms & 7)])
        is_dir = os.path.isdir("acldir/new")
        same(outcome(os.getxattr, "acldir/new", DEFAULT), "ok" if is_dir else "ENODATA")
        if is_dir:
            same(acl_get("acldir/new", DEFAULT), acl_get("acldir", DEFAULT))
            os.mkdir("acldir/new/below")
            same(acl_get("acldir/new/below", DEFAULT), acl_get("acldir", DEFAULT))
    return run


def tmpfile_named(path, mode):
    fd = os.open(os.path.dirname(path), os.O_RDWR | os.O_TMPFILE, mode)
    calls.link_fd(fd, path)


def made(path, mode):
    opened(path, os.O_CREAT | os.O_WRONLY, mode)


for _name, _maker, _mode, _wanted in [
        ("creat-666", made, 0o666, 0o660), ("creat-777", made, 0o777, 0o770),
        ("creat-600", made, 0o600, 0o600), ("creat-640", made, 0o640, 0o640),
        ("mkdir-777", os.mkdir, 0o777, 0o770), ("mkdir-700", os.mkdir, 0o700, 0o700),
        ("mkfifo-666", os.mkfifo, 0o666, 0o660), ("tmpfile-666", tmpfile_named, 0o666, 0o660),
        ("mknod-666", lambda p, m: os.mknod(p, stat.S_IFREG | m), 0o666, 0o660)]:
    add(f"acl.inherited-by-{_name}", inherited(_maker, _wanted, _mode), "acldir")


@case("acldir")
def a_symlink_inherits_none(w):
    os.symlink("x", "acldir/new")
    same(os.listxattr("acldir/new", follow_symlinks=False), [])
    write("f")
    os.rename("f", "acldir/moved")
    same(os.listxattr("acldir/moved"), [])
    os.removexattr("acldir", DEFAULT)
    write("acldir/plain")
    same((os.listxattr("acldir/plain"), mode_of("acldir/plain")), ([], 0o644))


@case("dir", users="root")
def a_default_acl_of_setgid(w):
    os.chown("dir", 0, STRANGE)
    os.chmod("dir", 0o2775)
    acl_set("dir", DEFAULT, entries(7, 7, 5, 7, 5))
    os.mkdir("dir/d"), write("dir/f")
    same((os.stat("dir/d").st_gid, mode_of("dir/d"), os.stat("dir/f").st_gid),
         (STRANGE, 0o2775, STRANGE))
    same(mode_of("dir"), 0o2775)


@case("tree")
def by_the_commands(w):
    subprocess.run(["setfacl", "-R", "-m", f"u:{OTHER}:rwX,g:{STRANGE}:r", "tree"], check=True)
    subprocess.run(["setfacl", "-d", "-m", f"u:{OTHER}:rwx", "tree/a"], check=True)
    told = subprocess.run(["getfacl", "-R", "-n", "tree"], check=True, capture_output=True,
                          text=True).stdout
    w.note(sorted(told.split("\n\n")))  # in the order of the directories
    write("tree/a/new")
    same((NAMED, 7, OTHER) in acl_get("tree/a/new", ACCESS), True)
    subprocess.run(["cp", "-a", "tree", "copied"], check=True)
    there = [subprocess.run(["getfacl", "-R", "-n", "."], cwd=d, check=True, capture_output=True,
                            text=True).stdout for d in ("tree", "copied")]
    same(there[0].count("user:"), there[1].count("user:"))
    same(sorted(there[0].split("\n\n")), sorted(there[1].split("\n\n")))
    subprocess.run(["setfacl", "-R", "-b", "tree"], check=True)
    same((os.listxattr("tree"), os.listxattr("tree/a"), os.listxattr("tree/a/b/f")), ([], [], []))
    same(os.stat("tree/a/b/f").st_size, 20_000)
