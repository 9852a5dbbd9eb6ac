"""The index of names against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.names import NameIndex

names = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(st.booleans(), names), max_size=60), st.lists(names, max_size=20))
def test_like_a_dictionary(steps: list[tuple[bool, str]], asked: list[str]) -> None:
    """Put, removed, put again, asked for one by one and together."""
    index, known, free, rows = NameIndex(), dict[str, int](), list[int](), 0
    for wanted, name in steps:
        if wanted and name not in known:
            rows += not free
            known[name] = free.pop() if free else rows - 1
            index.put(name, known[name])
        elif not wanted and name in known:
            index.remove(known[name])
            free.append(known.pop(name))
    asked += [name for _, name in steps]
    assert index.rows(asked).tolist() == [known.get(name, -1) for name in asked]
    assert [index.row(name) for name in asked] == [known.get(name, -1) for name in asked]
    assert len(index) == len(known)
    assert list(index) == sorted(known, key=lambda name: known[name])
    lines = [next((name for name, row in known.items() if row == wanted), "") for wanted in range(rows)]
    assert index.lines(0, rows) == "".join(f"{line}\n" for line in lines)
    again = NameIndex()
    assert again.put_lines(index.lines(0, rows), 0, rows).tolist() == sorted(free)
    assert again.rows(asked).tolist() == [known.get(name, -1) for name in asked]
    assert again.lines(0, rows) == index.lines(0, rows)


def test_thousands_at_once_and_in_turn() -> None:
    """Growing, and using again what was given back, also its bytes."""
    index = NameIndex()
    batch = [f"vm{number % 7}/{number}" for number in range(5000)]
    index.put_lines("".join(f"{name}\n" for name in batch), 0, 5000)
    assert index.rows(batch).tolist() == list(range(5000))
    for round_ in range(5):
        for row in range(0, 5000, 2):
            index.remove(row)
        again = [f"других/{round_}/{row}" for row in range(0, 5000, 2)]
        for name, row in zip(again, range(0, 5000, 2), strict=True):
            index.put(name, row)
        assert index.rows(again).tolist() == list(range(0, 5000, 2))
        assert index.rows(batch[1::2]).tolist() == list(range(1, 5000, 2))
        assert (index.rows(batch[::2]) == -1).all()


class SameHash(str):
    """Two different names with one hash."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


def test_a_hit_is_compared_byte_by_byte() -> None:
    """Names that share a hash, of one size or not, known or not, are never taken for each other."""
    index = NameIndex()
    shared = [SameHash(name) for name in ("vm1/1", "vm1/2", "vm1/12", "vm1/3")]
    for row, name in enumerate(shared):
        index.put(name, row)
    asked = [*reversed(shared), SameHash("vm1/4"), SameHash("vm1/13")]
    assert index.rows(asked).tolist() == [3, 2, 1, 0, -1, -1]
    assert [index.row(name) for name in asked] == [3, 2, 1, 0, -1, -1]
    index.remove(1)
    assert index.rows(asked).tolist() == [3, 2, -1, 0, -1, -1]


@pytest.mark.parametrize("lines", ["", "a\n", "a\nb", "a\nb\nc\n", "a\nb\nc"])
def test_as_many_lines_as_rows(lines: str) -> None:
    """Else nothing is put."""
    index = NameIndex()
    with pytest.raises(ValueError, match="for 2 rows"):
        index.put_lines(lines, 0, 2)
    assert len(index) == 0
