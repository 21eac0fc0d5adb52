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
        self.facts = {n: [] for n in names}  # of a fresh round: requests, listings, bytes, kept
        self.whole = None                    # bytes of all files there
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
        if work.before:
            work.before(scratch, column, number)
        return work.sample(scratch, column, number)
    except machine.Failed as e:
        result.failed(column, e)
        return None


def fresh(scratch, work, columns, runs, expected, origin, done):
    columns = [c for c in columns if work.columns is None or c.name in work.columns]
    result = Result(work, columns)
    done.append(result)
    result.whole = int(expected[work.part][3]) if work.finish else None
    if work.cold and work.part == "tree":
        result.title += f" ({expected['tree'][2]} directories)"
    say(f"{work.name}")
    for number in range(work.rounds(runs)):
        for column in rotated(columns, number):
            seconds, fact = sample_fresh(scratch, work, result, column, number, expected, origin)
            result.seconds[column.name].append(seconds)
            result.facts[column.name].append(fact)


def sample_fresh(scratch, work, result, column, number, expected, origin):
    seconds = fact = None
    mark = origin.asked()
    try:
        column.start(work.part)
        if not work.cold or column.name == "native":
            fill(scratch, column, expected, work.part)
        seconds = work.sample(scratch, column, number)
        fact = facts(column, mark, origin)
        if work.finish:
            fact.update(work.finish(scratch, column, number))
        elif number == 0 and work.cold and column.name != "curl":
            agree(scratch, column, expected, work.part)
    except machine.Failed as e:
        seconds = fact = None
        result.failed(column, e)
    finally:
        column.stop()
    return seconds, fact


def fill(scratch, column, expected, part):
    """All of it is present, and in the page cache by reading, as in warm()."""
    agree(scratch, column, expected, part)
    machine.pages_drop()
    works.content(scratch, column.path)


def facts(column, mark, origin):
    fact = origin.since(mark)
    counted = column.fetched()
    if counted is not None:
        fact["bytes"] = counted
    return fact
