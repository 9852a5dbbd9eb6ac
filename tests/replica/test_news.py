"""Who listens hears of everything, a few times a second, in turns with others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from stream.adapters.clock import run_warped
from stream.ports import Clock
from stream.replica.model import News
from stream.replica.news import AT_ONCE, MOST_NAMED, ROUND_S, Gazette


def warped(scenario: Callable[[Gazette], Coroutine[Any, Any, None]]) -> None:
    """In a time of its own."""

    async def main(clock: Clock) -> None:
        await scenario(Gazette())

    run_warped(main, start_ms=0)


async def hear(news: AsyncGenerator[News, None], count: int) -> list[News]:
    async with asyncio.timeout(60):
        return [await anext(news) for _ in range(count)]


async def listening(gazette: Gazette) -> AsyncGenerator[News, None]:
    """Somebody who listens already, and has heard once."""
    news = gazette.listen()
    first = asyncio.create_task(hear(news, 1))
    await asyncio.sleep(0)
    gazette.tell(News("letter"))
    await first
    return news


def of(*services: str) -> frozenset[str]:
    return frozenset(services)


def test_whoever_is_slow_hears_it_put_together() -> None:
    """Services of a kind in one, and by itself that it may be any; too many are not named."""

    async def scenario(gazette: Gazette) -> None:
        async with aclosing(await listening(gazette)) as news:
            for number in range(80):
                gazette.tell(News("entry", of(f"vm1/{number % 7}")))
            gazette.tell(News("state", of("vm1/1")))
            gazette.tell(News("state", of(*(f"vm1/{number}" for number in range(MOST_NAMED + 1)))))
            gazette.tell(News("entry"))
            gazette.tell(News("letter"))
            assert await hear(news, 4) == [
                News("entry", of(*(f"vm1/{number}" for number in range(7)))), News("state"), News("entry"),
                News("letter"),
            ]  # fmt: skip
            gazette.tell(News("state", of("vm1/1")))
            assert await hear(news, 1) == [News("state", of("vm1/1"))]

    warped(scenario)


def test_many_hear_in_turns() -> None:
    """Others run in between, however many they are; all of them hear."""

    async def scenario(gazette: Gazette) -> None:
        turn = 0
        heard: Counter[int] = Counter()

        async def one() -> None:
            async with aclosing(gazette.listen()) as news:
                await hear(news, 1)
                heard[turn] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(one())
            await asyncio.sleep(0)
            gazette.tell(News("state"))
            while heard.total() < 200:
                await asyncio.sleep(0.001)
                turn += 1
        assert max(heard.values()) <= AT_ONCE

    warped(scenario)


def test_nobody_hears_too_often() -> None:
    """At once after a time of silence, then at most once in a round; what was told last is heard, too."""

    async def scenario(gazette: Gazette) -> None:
        loop, heard = asyncio.get_running_loop(), list[tuple[float, News]]()

        async def listen() -> None:
            async with aclosing(gazette.listen()) as news:
                async for one in news:
                    heard.append((loop.time(), one))

        task = asyncio.create_task(listen())
        await asyncio.sleep(0)
        began = loop.time()
        for number in range(1000):
            gazette.tell(News("state", of(f"vm1/{number}")))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert heard[0] == (began, News("state", of("vm1/0")))
        assert 10 / ROUND_S - 3 < len(heard) < 10 / ROUND_S + 3
        assert "vm1/999" in (heard[-1][1].services or ())
        task.cancel()

    warped(scenario)
