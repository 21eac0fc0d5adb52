#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Readers beside three mirrors that stop, start and refuse at random.

The second mirror has other versions of some files, and lacks some; the third has other ETags and
lacks half of the names. Readers see the first one's bytes and names, or an error,
while cached data is evicted; and all is right again once the mirrors are.

By hand: random_mirrors.py --seconds 600 [--seed N] [--build DIR] [--variant tsan]
"""
import errno
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
import lying  # noqa: E402
import processes  # noqa: E402
import trees  # noqa: E402

FILES, SIZE, THEN, ENOUGH = 24, 300_000, 1_600_000_000, 100
OPTIONS = ("mirror_retry=50ms,retries=1,readahead=0,listing_ttl=0,stall_timeout=500ms,"
           "wait_timeout=5s")
LIES = [lying.status(500), lying.status(403), lying.status(404), lying.page, lying.drop,
        lying.status(429, Retry_After="1"), lying.truncate(1000), lying.stall(100)]


def make_trees(root):
    """→ the bytes of each file at the first mirror."""
    truth = [trees.noise(n, SIZE) for n in range(FILES)]
    for n, data in enumerate(truth):
        trees.put(root / "0" / f"f{n}", data, THEN)
        if n % 3 == 0:
            trees.put(root / "1" / f"f{n}", trees.noise(1000 + n, SIZE), THEN - 7200)
        elif n % 3 == 1:
            trees.put(root / "1" / f"f{n}", data, THEN)
        if n % 2:
            trees.put(root / "2" / f"f{n}", data, THEN)
    return truth


class Torture:
    def __init__(self, program, seed, seconds):
        self.program, self.until = program, time.monotonic() + seconds
        self.truth = make_trees(program.scratch)
        self.wrong, self.right, self.failed = [], 0, 0
        self.servers = [lying.LyingServer(program.scratch / str(i)) for i in range(3)]
        self.servers[2].lie("/*", lying.header("ETag", '"third"'))
        argv = [x for s in self.servers[1:] for x in ("--mirror", s.url)]
        self.m = program.mount(self.servers[0].url, *argv, "-o", OPTIONS)
        self.names = sorted(os.listdir(self.m.path))
        self.seed = seed

    def goes_on(self):
        """Until the time is over, and enough was read, however busy the machine is."""
        return (time.monotonic() < self.until or self.right <= ENOUGH) and not self.wrong

    def look(self, choose):
        n, offset = choose.randrange(FILES), choose.randrange(SIZE - 1)
        if choose.random() < 0.1:
            if sorted(os.listdir(self.m.path)) != self.names:
                self.wrong.append("other names than the first mirror's")
            return
        with open(self.m / f"f{n}", "rb", buffering=0) as f:
            data = os.pread(f.fileno(), 5000, offset)  # short where a later page fails
        if not data or data != self.truth[n][offset:offset + len(data)]:
            self.wrong.append(f"f{n}, {len(data)} bytes at {offset}")
        self.right += 1

    def read(self, seed):
        choose = random.Random(seed)
        while self.goes_on():
            try:
                self.look(choose)
            except OSError as e:
                self.failed += 1
                if e.errno not in (errno.EIO, errno.EACCES):
                    self.wrong.append(repr(e))

    def disturb(self, seed):
        choose = random.Random(seed)
        while self.goes_on():
            server, what = choose.choice(self.servers), choose.random()
            if what < 0.4:
                (server.stop if server.server else server.start)()
            elif what < 0.7:
                server.lie("/f*", choose.choice(LIES), times=choose.randrange(1, 9))
            else:
                self.program.run("evict", *(self.m / f"f{choose.randrange(FILES)}"
                                            for _ in range(6)))
            time.sleep(choose.random() * 0.2)

    def run(self):
        choose = random.Random(self.seed)
        threads = [threading.Thread(target=call, args=(choose.random(),))
                   for call in [self.read] * 8 + [self.disturb]]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for server in self.servers:
            server.honest()
            if server.server is None:
                server.start()
        # what is cached of its version goes on there alone
        self.servers[2].lie("/*", lying.header("ETag", '"third"'))
        for n in range(FILES):
            assert processes.wait_until(lambda n=n: self.whole(n), 30), f"f{n} stays wrong"
        for server in self.servers:
            server.stop()
        assert not self.wrong, self.wrong[:3]
        return self.right, self.failed

    def whole(self, n):
        try:
            return (self.m / f"f{n}").read_bytes() == self.truth[n]
        except OSError:
            return False


def torture(program, seed, seconds):
    """→ the numbers of reads that were right, and that failed."""
    return Torture(program, seed, seconds).run()


def main():
    args = campaign.parser(__doc__).parse_args()
    seed = campaign.seed_of(args)
    with campaign.program(args, "mirrors") as program:
        right, failed = torture(program, seed, args.seconds)
    print(f"{right} reads right, {failed} failed")


if __name__ == "__main__":
    main()
