"""A world in a file: it survives any kill, and anybody can work out its ground truth."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest

from stream.core.errors import Corrupt
from stream.simulator import World
from stream.simulator.journal import Origin, load, resume, wall_ms
from stream.simulator.truth import ground_truth, write
from tests.simulator.platform import DAY, HOUR, STEP, T0, Now, local

BERLIN = ZoneInfo("Europe/Berlin")


def origin(*, speed: float = 1.0, seed: int = 3) -> Origin:
    return Origin(seed=seed, step_ms=STEP, began_ms=T0, began_wall_ms=wall_ms(), speed=speed)


def live(world: World) -> None:
    """Something of everything."""
    world.populate(5, since=T0 - 3 * DAY)
    first, second, third, *_ = world.ids()
    made = world.create(habit="silent", limits=(None, 3), creating_ms=STEP, tags=["vpn"], account="8")
    world.script(made, T0 - STEP, T0 + STEP, 12_345, 678)
    world.edit(first, name="renamed", node="n9", tags=["a"])
    world.stop(second)
    world.set_limits(first, 7, None, by="billing")
    world.delete(third)
    world.create(id=third, habit="heavy")
    world.order(first, {"net_in_mbitps": 9}, by="admin", takes_ms=20_000, absent_ms=2_000)
    world.order(second, {"net_in_mbitps": 9}, by="admin", takes_ms=20_000, outcome="fail")
    world.start(second)


def test_a_world_goes_on_where_it_was(tmp_path: Path) -> None:
    """After any end of the process: same VMs, limits, tasks and bytes; and what happens then is kept as well."""
    path = tmp_path / "world.jsonl"
    world, journal = resume(path, origin())
    live(world)
    journal.close()
    again, journal = resume(path, origin(seed=99))
    read = load(path, world.now)
    now = world.now() + HOUR
    for other in (again, read):
        assert ground_truth(other, BERLIN)["machines"] == ground_truth(world, BERLIN)["machines"]
        assert [(one.name, one.node, one.tags, one.account, one.eras) for one in other.machines()] == [
            (one.name, one.node, one.tags, one.account, one.eras) for one in world.machines()
        ]
        assert other.tasks == world.tasks
        for id in world.ids():
            assert other.bytes_between(id, T0 - 4 * DAY, now) == world.bytes_between(id, T0 - 4 * DAY, now)
    again.set_limits(101, 1, 1)
    journal.close()
    assert load(path).limits(101) == (1, 1)


def test_a_torn_line_is_cut(tmp_path: Path) -> None:
    """What a crash of the machine left of a line is removed, and the next event stands on a line of its own."""
    path = tmp_path / "world.jsonl"
    world, journal = resume(path, origin())
    world.create()
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"do":"delete","id":10')
    assert load(path).ids() == [101]
    again, journal = resume(path, origin())
    again.set_limits(101, 5, 5)
    journal.close()
    assert load(path).limits(101) == (5, 5)


BEGIN = b'{"do":"begin","format":1,"seed":3,"step_ms":300000,"began_ms":1,"began_wall_ms":1,"speed":1.0}'
CREATE = {"do": "create", "at": T0, "id": 101, "habit": "steady", "in": 100, "out": None}
SCRIPT = {"do": "script", "at": T0, "id": 101, "start": T0, "end": T0 + STEP, "in": 1, "out": 1}


@pytest.mark.parametrize(
    "event",
    [
        {"do": "begin", "format": 1},
        {"do": ["create"]},
        {"do": "populate", "at": T0, "count": 10**9, "habits": {"steady": 1}},
        {"do": "populate", "at": T0, "count": 3, "habits": {}},
        {"do": "delete", "at": T0, "id": 102},
        {"do": "change", "at": T0, "id": 101, "values": {"state": 7}, "by": "x"},
        {"do": "change", "at": T0, "id": 101, "values": [], "by": "x"},
        {"do": "edit", "at": T0, "id": 101, "tags": 7},
        {"do": "order", "at": T0, "id": 101, "values": {}, "by": "x"},
        {key: value for key, value in CREATE.items() if key != "at"},
        CREATE | {"id": "101"},
        CREATE | {"habit": "lazy"},
        CREATE | {"in": 1e300},
        CREATE | {"at": 1 << 62},
        CREATE | {"unknown": 1},
        SCRIPT | {"end": T0 * 2},
        SCRIPT | {"id": 102},
        [],
        None,
    ],
)
def test_a_line_that_is_no_event_is_refused(tmp_path: Path, event: object) -> None:
    """Whatever a line holds, and whatever cannot have happened after the lines before it: the file is left as it is."""
    path = tmp_path / "world.jsonl"
    good = BEGIN + b"\n" + orjson.dumps(CREATE) + b"\n"
    path.write_bytes(good)
    assert load(path).ids() == [101]
    content = good + orjson.dumps(event) + b"\ntorn"
    path.write_bytes(content)
    for opened in (load, lambda path: resume(path, origin())):
        with pytest.raises(Corrupt, match="does not hold a simulator's world"):
            opened(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"\xff\n", b"[]\n", b'{"do":"create"}\n', b'{"do":"begin","format":2,"seed":1}\n', b"torn"],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds no world is left as it is, with a word about it."""
    path = tmp_path / "world.jsonl"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="does not hold a simulator's world"):
        resume(path, origin())
    assert path.read_bytes() == content


def test_its_time_goes_on_while_nobody_looks() -> None:
    """The world's time follows from the wall's alone, at its own speed."""
    began = origin(speed=1000.0)
    past = Origin(**{**{name: getattr(began, name) for name in began.__slots__}, "began_wall_ms": wall_ms() - 60_000})
    assert 60_000_000 <= past.now() - T0 < 90_000_000


def test_time_never_goes_back() -> None:
    """Whatever the clock does, a world is never earlier than it was."""
    now = Now()
    world = World(now)
    now.ms = T0 + HOUR
    assert world.now() == T0 + HOUR
    now.ms = T0
    assert world.now() == T0 + HOUR


def test_the_ground_truth_by_local_day(tmp_path: Path) -> None:
    """Totals and days add up to the last step that is over, a day of 23 hours among them; the file is whole JSON."""
    now = Now(local("2026-03-30T02:07"))
    world = World(now)
    id = world.create(habit="silent", limits=(100, None), since=local("2026-03-28T12:00"))
    world.script(id, local("2026-03-28T12:00"), local("2026-03-30T03:00"), 38 * 12 * 1000, 0)
    now.ms += 1000
    world.set_limits(id, 5, 5)
    world.delete(world.create())
    path = tmp_path / "truth.json"
    write(path, ground_truth(world, BERLIN))
    truth = orjson.loads(path.read_bytes())
    assert truth["until"] == local("2026-03-30T02:05")
    machine = truth["machines"][0]
    assert [day[2] for day in machine["days"]] == [12 * 12_000, 23 * 12_000, 25_000]
    assert [day[0] for day in machine["days"][1:]] == [local("2026-03-29"), local("2026-03-30")]
    assert (machine["bytes_in"], machine["bytes_out"]) == (35 * 12_000 + 25_000, 0)
    assert [era[1:] for era in machine["limits"]] == [["active", 100, None], ["active", 5, 5]]
    assert truth["machines"][1]["deleted"] == now.ms
    assert list(tmp_path.iterdir()) == [path]
