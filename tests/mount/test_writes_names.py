# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Names and attributes of a writable mount, as a native directory would tell them."""
import os


def test_links_of_a_directory_that_its_parent_listed(mount, serve, tree):
    """A listing brings attributes, too."""
    m = mount(serve(tree).url, "-o", "rw")
    os.mkdir(m / "made")

    def listed():
        os.mkdir(m / "other"), os.rmdir(m / "other")  # what the kernel keeps of it goes
        os.listdir(m.path)

    for path in (m / "made", m / "empty"):
        listed(), os.stat(path)
        os.mkdir(path / "one")
        listed()
        assert os.stat(path).st_nlink == 3
        os.rmdir(path / "one")
        listed()
        assert os.stat(path).st_nlink == 2
