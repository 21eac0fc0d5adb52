# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""What a call ended with, and what is true after a while."""
import processes


def error_of(call, *args, **more):
    """The errno; 0 where it works."""
    try:
        call(*args, **more)
    except OSError as e:
        return e.errno
    return 0


def soon(condition):
    """Where there is no event to wait for; `condition()` is asked again and again."""
    assert processes.wait_until(condition)
