"""The brake: how many, within how long, and who opens it."""

from __future__ import annotations

import pytest

from stream.core.brake import Brake, BrakeRule

MINUTE_MS = 60_000


def admitted(brake: Brake, count: int, *, population: int, now: int, name: str = "vm1") -> int:
    return sum(brake.admits(f"{name}/{number}", population, now) for number in range(count))


@pytest.mark.parametrize(("population", "limit"), [(0, 5), (20, 5), (50, 5), (60, 6), (1009, 100)])
def test_a_tenth_of_the_services_but_at_least_five_may_be_slowed_at_once(population: int, limit: int) -> None:
    """What comes after that waits."""
    brake = Brake(BrakeRule())
    assert admitted(brake, 200, population=population, now=0) == limit
    assert len(brake.waiting) == 200 - limit


def test_it_counts_ten_minutes() -> None:
    """Those who were slowed earlier make room."""
    brake = Brake(BrakeRule())
    assert admitted(brake, 5, population=10, now=0) == 5
    assert admitted(brake, 5, population=10, now=10 * MINUTE_MS, name="later") == 5


def test_once_it_holds_it_holds_until_it_is_opened() -> None:
    """Time alone does not open it."""
    brake = Brake(BrakeRule())
    admitted(brake, 6, population=10, now=0)
    assert admitted(brake, 5, population=10, now=60 * MINUTE_MS, name="later") == 0
    brake.open(until=90 * MINUTE_MS)
    assert admitted(brake, 50, population=10, now=61 * MINUTE_MS, name="later") == 50
    assert admitted(brake, 50, population=10, now=90 * MINUTE_MS, name="last") == 5


def test_a_service_that_was_admitted_may_be_tried_again() -> None:
    """It counts once."""
    brake = Brake(BrakeRule())
    admitted(brake, 6, population=10, now=0)
    assert [brake.admits(f"vm1/{number}", 10, MINUTE_MS) for number in (0, 4, 5)] == [True, True, False]


def test_it_remembers_over_a_restart() -> None:
    """The slowed of the last minutes, that it holds, and until when it is open."""
    brake = Brake(BrakeRule())
    brake.restore(False, 0)
    for number in range(4):
        brake.remember(f"vm1/{number}", 0)
    brake.remember("vm1/never", None)
    assert admitted(brake, 5, population=10, now=MINUTE_MS, name="new") == 1
    held = Brake(BrakeRule())
    held.restore(True, 0)
    assert admitted(held, 1, population=10, now=0) == 0
    opened = Brake(BrakeRule())
    opened.restore(False, 30 * MINUTE_MS)
    opened.remember("vm1/1", 10 * MINUTE_MS)
    assert admitted(opened, 50, population=10, now=20 * MINUTE_MS) == 50
    assert admitted(opened, 50, population=10, now=30 * MINUTE_MS, name="later") == 5


@pytest.mark.parametrize(
    ("partitions", "served", "shares"),
    [(8, [8], [10]), (8, [4, 4], [5, 5]), (12, [5, 4, 3], [4, 3, 2]), (40, [38, 1, 1, 0], [9, 1, 1, 1])],
)
def test_processes_share_the_limit(partitions: int, served: list[int], shares: list[int]) -> None:
    """As they share the partitions: together no more than the limit, but for those whose part is less than one."""
    for own, share in zip(served, shares, strict=True):
        brake = Brake(BrakeRule())
        brake.share = (own, partitions)
        assert admitted(brake, 50, population=100, now=0) == share
    rounded_up = sum(10 * own < partitions for own in served)
    assert sum(shares) <= 10 + rounded_up


def test_a_limit_of_none_is_shared_as_none() -> None:
    """Where nothing may be slowed, no process may slow anything."""
    brake = Brake(BrakeRule(percent=0, at_least=0))
    brake.share = (1, 4)
    assert admitted(brake, 5, population=100, now=0) == 0


def test_what_was_slowed_goes_where_its_partition_goes() -> None:
    """Who gives a service away counts it no more, and who gets it does."""
    giver, taker = Brake(BrakeRule()), Brake(BrakeRule())
    assert admitted(giver, 10, population=100, now=0) == 10
    giver.share = taker.share = (1, 2)
    for number in range(5, 10):
        giver.forget(f"vm1/{number}")
        taker.remember(f"vm1/{number}", 0)
    later = 10 * MINUTE_MS - 1
    assert [admitted(each, 1, population=100, now=later, name="late") for each in (giver, taker)] == [0, 0]
    fresh = Brake(BrakeRule())
    fresh.remember("vm1/1", 0)
    fresh.share = (1, 2)
    assert admitted(fresh, 9, population=100, now=later, name="late") == 4


@pytest.mark.parametrize("wrong", [{"percent": 101}, {"percent": -1}, {"at_least": -1}, {"within_ms": 0}])
def test_an_impossible_rule_is_refused(wrong: dict[str, int]) -> None:
    """Policy validates itself."""
    with pytest.raises(ValueError, match="no such brake"):
        BrakeRule(**wrong)
