# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""crash_points.py for a minute: some rows and points at random; the seed is printed, and taken
with --seed."""
import pytest

import crash_points
import crashing
import vanishing


def some(choose, program, scratch, rows, points, **options):
    campaign = crashing.Campaign(program, scratch, rows)
    tried, wrong = campaign.torture(
        choose=lambda p: sorted(choose.sample(p, min(points, len(p))), key=lambda x: x[0].name),
        **options)
    assert not wrong, wrong[0]
    assert tried == points


@pytest.mark.patience(600)
def test_killed_at_any_step(lacunafs, scratch, choose):
    some(choose, lacunafs, scratch, choose.sample(crash_points.rows(), 32), 110)


@pytest.mark.patience(600)
def test_killed_in_the_middle_of_a_write(lacunafs, scratch, choose):
    rows = crash_points.rows("read|write|append|truncate|extend")
    some(choose, lacunafs, scratch, choose.sample(rows, 10), 30, torn=True)


@pytest.mark.patience(600)
def test_killed_and_the_epoch_ends(lacunafs, scratch, choose):
    some(choose, lacunafs, scratch, choose.sample(crash_points.rows(), 16), 50, epochs=True)


@pytest.mark.patience(600)
@pytest.mark.parametrize("event, expression, kind", [
    (crashing.SYNC, "write|append|fsync", crashing), (crashing.SCAN, "", crashing),
    (None, "", vanishing)], ids=["sync", "scan", "vanish"])
def test_an_event_before_the_kill(lacunafs, scratch, choose, event, expression, kind):
    """A sync that fails, directories that cannot be read, a parent that vanishes at the source."""
    found = crash_points.rows(expression)
    campaign = kind.Campaign(lacunafs, scratch, choose.sample(found, min(24, len(found))))
    tried, wrong = campaign.torture(lambda p: choose.sample(p, min(24, len(p))), event=event)
    assert not wrong, wrong[0]
    assert tried > 0


def test_made_by_somebody_else(lacunafs, scratch):
    """It counts once it is theirs."""
    rows = crash_points.rows("as a user")
    campaign = crashing.Campaign(lacunafs, scratch, rows)
    tried, wrong = campaign.torture()
    assert not wrong, wrong[0]
    assert tried > 2 * len(rows)


@pytest.mark.patience(600)
def test_set_id_at_every_step(lacunafs, scratch):
    """The bits are nobody's but who had them, at no step of a chown; a mode comes whole."""
    rows = crash_points.rows("set-id")
    campaign = crashing.Campaign(lacunafs, scratch, rows)
    tried, wrong = campaign.torture()
    assert not wrong, wrong[0]
    assert tried >= len(rows)
