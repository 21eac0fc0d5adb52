# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""The two trees of random_ops.py: how they differ, by which steps, and how they are made the same
after a crash. A worker's folder is folder(number) in each."""
import os
import re
import stat
import subprocess

import posix_chooser
import posix_steps
import state

WORKERS = 4
USER = 1000  # the last worker is an ordinary user
SINCE = posix_chooser.PAST * 10**9


def folder(i):
    return f"p{i}" if i < WORKERS - 1 else "user"


class Trouble(Exception):
    """What a worker found wrong."""


def related(done, names, most=25):
    """The steps that have to do with these names or descriptors, and what they told."""
    names = {n for n in names if isinstance(n, int) or isinstance(n, str) and "/" in n}
    for d in done:  # and those with the names of the descriptors
        if d[1] == "keep" and d[2][0] in names:
            names.add(d[2][1])

    def touches(argument):
        if isinstance(argument, int):
            return argument in names
        return isinstance(argument, str) and "/" in argument and any(
            isinstance(n, str) and f"{argument}/".startswith(f"{n}/")
            or isinstance(n, str) and f"{n}/".startswith(f"{argument}/") for n in names)
    found = [d for d in done if touches(d[2][0])
             or any(touches(a) for a in d[2][1:] if isinstance(a, str))]
    return "\n".join(f"  {d[0]:4} {d[1]}{shorten(d[2])} {d[3:]!r:.120}" for d in found[-most:])


def shorten(arguments):
    return re.sub("([xy])\\1{20,}", r"\1…", repr(arguments))


def explained(found, answers, most=12):
    """Differences of the trees, each with the steps that came before it."""
    text = []
    for line in found[:most]:
        text.append(shorten(line)[1:-1] if len(line) > 300 else line)
        path = re.match("b(['\"])(.*?)\\1", line)
        for answer in answers:
            text.append(related(answer[2], [path[2]], 12) if path else "")
    return "\n".join(t for t in text if t)


def compare(truth, mounted, where=""):
    return state.differences(state.left(os.path.join(truth, where), SINCE),
                             state.left(os.path.join(mounted, where), SINCE))


def numbers(truth, mounted, where, paths):
    """What files that are, whatever their names; no directories."""
    found = set()
    for side in (truth, mounted):
        for path in paths:
            try:
                st = os.lstat(os.path.join(side, where, path))
            except OSError:
                continue
            if not stat.S_ISDIR(st.st_mode):
                found.add((side, st.st_ino))
    return found


def settle(worker, cut, truth, mounted, done):
    """After a crash: the step that was cut short is done, or not, or its own object is in
    between; the native tree then follows."""
    where = folder(worker.number)
    if not (found := compare(truth, mounted, where)):
        return
    step, arguments = cut
    own = [os.path.relpath(a, where) for a in arguments if isinstance(a, str) and "/" in a]
    own += [o + "~" for o in own] + [os.path.dirname(o) or "." for o in own]
    files = numbers(truth, mounted, where, own)
    pid = os.fork()  # as who did it
    if pid == 0:
        if worker.user:
            os.setgroups([posix_chooser.TEAM])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
        os.umask(0o022)
        posix_steps.told(posix_steps.Side(truth), step, arguments)
        os._exit(0)
    os.waitpid(pid, 0)
    if not (after := compare(truth, mounted, where)):
        return
    files |= numbers(truth, mounted, where, own)

    def is_own(line):
        path = os.fsdecode(eval(line.split(": ")[0].removesuffix(" is there")
                                .removesuffix(" is missing")))
        return any(path == o or path.startswith(o + "/") for o in own if o != ".") \
            or path in own or bool(files & numbers(truth, mounted, where, [path]))
    others = [line for line in after if not is_own(line) and ": links is " not in line]
    if others:
        prefixed = [re.sub("^b(['\"])", rf"b\1{where}/", line) for line in others]
        raise Trouble(f"{where}: kill -9 in {step}{shorten(arguments)} left\n" + "\n".join(after)
                      + "\nbefore it was done natively, too:\n" + "\n".join(found)
                      + "\n" + explained(prefixed, [(0, 0, done)]))
    subprocess.run(["rm", "-rf", os.path.join(truth, where)], check=True)
    subprocess.run(["cp", "-a", os.path.join(mounted, where), truth], check=True)
