# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""Runs the works: in every round each column once, and each round begins with another one.

Result: seconds {column: [one a round, None where it failed]}, so that ratios are of pairs
"""
import sys

import machine
import works


class Result:
    def __init__(self, work, columns):
        self.name, self.title, self.cold = work.name, work.title, work.cold
        names = [c.name for c in columns]
        self.reference = next((n for n in work.reference if n in names), None)
        self.seconds = {n: [] for n in names}
        self.facts = {n: [] for n in names}  # of a cold round: requests, listings, bytes
        self.failures = {}

    def failed(self, column, why):
        self.failures[column.name] = str(why)
        say(f"{self.name}: {column.name}: {why}")


def say(text):
    print(text, file=sys.stderr, flush=True)


def rotated(columns, number):
    at = number % len(columns) if columns else 0
    return columns[at:] + columns[:at]


def agree(scratch, column, expected, part):
    """Failed unless the column's bytes are those of the native file system."""
    found = works.content(scratch, column.path)
    if found != expected[part]:
        raise machine.Failed(f"other bytes than the native file system has: {found}")


def warm(scratch, part, some, columns, runs, expected, done):
    """All works of one part; `done` gets their results, even if it is interrupted."""
    results = [Result(w, columns) for w in some]
    done += results
    ready = []
    for column in columns:
        try:
            column.start(part)
            agree(scratch, column, expected, part)
            ready.append(column)
        except machine.Failed as e:
            for result in results:
                result.failed(column, e)
            column.stop()
    # The page cache holds larger folios of what was read than of what arrived in pieces: each
    # column's is filled by reading.
    machine.pages_drop()
    for column in ready:
        works.content(scratch, column.path)
    try:
        for work, result in zip(some, results):
            say(f"{work.name}")
            for number in range(runs):
                for column in rotated(ready, number):
                    result.seconds[column.name].append(
                        sample_warm(scratch, work, result, column, number))
    finally:
        for column in ready:
            column.stop()


def sample_warm(scratch, work, result, column, number):
    try:
        before = works.walk if part_walks(work) else work.run
        before(scratch, column, number)
        return work.sample(scratch, column, number)
    except machine.Failed as e:
        result.failed(column, e)
        return None


def part_walks(work):
    """The slow ones are not done twice; attributes that time out are asked for again."""
    return work.part == "tree" and work.run is not works.open_all


def cold(scratch, work, columns, runs, expected, origin, done):
    columns = [c for c in columns if work.columns is None or c.name in work.columns]
    result = Result(work, columns)
    done.append(result)
    if work.part == "tree":
        result.title += f" ({expected['tree'][2]} directories)"
    say(f"{work.name}")
    for number in range(runs):
        for column in rotated(columns, number):
            seconds, fact = sample_cold(scratch, work, result, column, number, expected, origin)
            result.seconds[column.name].append(seconds)
            result.facts[column.name].append(fact)


def sample_cold(scratch, work, result, column, number, expected, origin):
    seconds = fact = None
    mark = origin.asked()
    try:
        column.start(work.part)
        seconds = work.sample(scratch, column, number)
        fact = origin.since(mark)
        counted = column.fetched()
        if counted is not None:
            fact["bytes"] = counted
        if number == 0 and column.name != "curl":
            agree(scratch, column, expected, work.part)
    except machine.Failed as e:
        seconds = None
        result.failed(column, e)
    finally:
        column.stop()
    return seconds, fact
