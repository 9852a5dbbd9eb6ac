"""Warped time: it stands still while there is work, jumps when there is none, and keeps every order."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from stream.adapters.clock import SystemClock, WarpClock, run_warped

START_MS = 1_764_543_600_000
YEAR_S = 365 * 86_400


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes in real time."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_system_clock() -> None:
    """The system's clock gives ms since the epoch."""
    assert abs(SystemClock().now() - time.time() * 1000) < 1000


def test_a_year_of_sleeps() -> None:
    """A year in hourly sleeps passes in seconds, and the clock shows each hour to the millisecond."""

    async def main(clock: WarpClock) -> None:
        for hour in range(YEAR_S // 3600):
            assert clock.now() == START_MS + hour * 3_600_000
            await asyncio.sleep(3600)

    assert seconds(lambda: run_warped(main, start_ms=START_MS)) < 5


def test_small_steps_add_up() -> None:
    """Milliseconds are not lost in the sum of many small sleeps."""

    async def main(clock: WarpClock) -> None:
        for step in range(5000):
            assert clock.now() == START_MS + step * 7
            await asyncio.sleep(0.007)

    run_warped(main, start_ms=START_MS)


def test_order() -> None:
    """Timers fire in the order of their times, not in that of their setting; a deadline cuts in between."""

    async def main(clock: WarpClock) -> list[str]:
        events: list[str] = []

        async def later(seconds: float) -> None:
            await asyncio.sleep(seconds)
            events.append(f"{seconds:g} at {(clock.now() - START_MS) / 1000:g}")

        tasks = [asyncio.create_task(later(seconds)) for seconds in (300, 0.5, 86_400 * 3, 20, 0)]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await asyncio.gather(*(asyncio.shield(task) for task in tasks))
        events.append(f"deadline at {(clock.now() - START_MS) / 1000:g}")
        await asyncio.gather(*tasks)
        return events

    assert run_warped(main, start_ms=START_MS) == [
        "0 at 0", "0.5 at 0.5", "20 at 20", "deadline at 100", "300 at 300", "259200 at 259200",
    ]  # fmt: skip


def test_same_program_same_order() -> None:
    """With neither threads nor sockets, the order of everything depends on the program alone."""

    async def main(clock: WarpClock) -> list[tuple[int, int]]:
        events: list[tuple[int, int]] = []

        async def walker(number: int) -> None:
            for step in range(50):
                await asyncio.sleep((number * 7919 + step * 104_729) % 97 / 10)
                events.append((clock.now(), number))

        await asyncio.gather(*(walker(number) for number in range(20)))
        return events

    assert run_warped(main, start_ms=0) == run_warped(main, start_ms=0)


def test_jobs_of_threads_are_waited_for() -> None:
    """Time stands still while a thread is at work: what takes long in real time keeps no deadline from being met."""

    def slow(answer: int) -> int:
        time.sleep(0.05)
        return answer

    async def main(clock: WarpClock) -> list[int]:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as executor:
            async with asyncio.timeout(0.001):
                jobs = loop.run_in_executor(executor, slow, 1), asyncio.to_thread(slow, 2)
                answers = list(await asyncio.gather(*jobs))
            assert clock.now() == START_MS
            await asyncio.sleep(1000)
            assert clock.now() == START_MS + 1_000_000
            return answers

    assert run_warped(main, start_ms=START_MS) == [1, 2]


def test_a_failing_job_sets_time_free() -> None:
    """Also a job that raises, or that nobody waits for any more, lets time go on."""

    def fail() -> None:
        raise ValueError("no")

    async def main(clock: WarpClock) -> int:
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(fail)
        abandoned = asyncio.create_task(asyncio.to_thread(time.sleep, 0.05))
        await asyncio.sleep(0)
        abandoned.cancel()
        await asyncio.sleep(1000)
        return clock.now()

    assert run_warped(main, start_ms=0) == 1_000_000


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line, twice as late as the last one."""
    pause = 0.0
    while line := await reader.readline():
        await asyncio.sleep(pause)
        writer.write(line)
        pause = pause * 2 + 1
    writer.close()
    await writer.wait_closed()


def over_loopback(main: Callable[[asyncio.StreamReader, asyncio.StreamWriter, WarpClock], Awaitable[None]]) -> float:
    """Run `main` on one end of a connection to an echo server in the same warped loop; returns real seconds."""

    async def connected(clock: WarpClock) -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await main(reader, writer, clock)
            writer.close()
            await writer.wait_closed()

    return seconds(lambda: run_warped(connected, start_ms=START_MS))


def test_sockets_are_waited_for() -> None:
    """A request over loopback, with a deadline, is answered in no time but the server's own."""

    async def main(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: WarpClock) -> None:
        expected = START_MS
        for number in range(12):
            async with asyncio.timeout(2**number):
                writer.write(b"%d\n" % number)
                assert await reader.readline() == b"%d\n" % number
            assert clock.now() == expected
            expected += (2 ** (number + 1) - 1) * 1000

    assert over_loopback(main) < 10


def test_large_answers_do_not_time_out() -> None:
    """Ten megabytes take many turns of the loop on both ends, and no time."""

    async def counting(clock: WarpClock) -> None:
        received = 0
        all_there = asyncio.Event()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            while data := await reader.read(65_536):
                received += len(data)
            writer.close()
            all_there.set()

        server = await asyncio.start_server(count, "127.0.0.1", 0)
        async with server, asyncio.timeout(0.5):
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(200):
                writer.write(bytes(50_000))
                await writer.drain()
            writer.close()
            await writer.wait_closed()
            await all_there.wait()
        assert received == 10_000_000
        assert clock.now() == START_MS

    run_warped(counting, start_ms=START_MS)


def test_watchable() -> None:
    """With a `max_speed` a simulated minute takes as long as asked, and not much longer."""

    async def main(clock: WarpClock) -> None:
        for _ in range(60):
            await asyncio.sleep(1)
        assert clock.now() == START_MS + 60_000

    taken = seconds(lambda: run_warped(main, start_ms=START_MS, max_speed=100))
    assert 0.59 < taken < 3


@contextmanager
def stranger(after_s: float) -> Iterator[socket.socket]:
    """A connection to somebody of whose work the loop does not know, who answers each byte after some real time."""
    here, there = socket.socketpair()

    def answer() -> None:
        while data := there.recv(1):
            time.sleep(after_s)
            there.send(data)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield here
    finally:
        here.shutdown(socket.SHUT_RDWR)
        here.close()
        thread.join()
        there.close()


def test_grace() -> None:
    """Sockets get the grace asked for before time jumps, and a jump is made when it is over."""

    async def main(clock: WarpClock) -> None:
        loop = asyncio.get_running_loop()
        with stranger(after_s=0.01) as connection:
            connection.setblocking(False)
            async with asyncio.timeout(1):
                await loop.sock_sendall(connection, b"?")
                assert await loop.sock_recv(connection, 1) == b"?"
            assert clock.now() == START_MS
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await loop.sock_recv(connection, 1)
            assert clock.now() == START_MS + 1000

    assert seconds(lambda: run_warped(main, start_ms=START_MS, grace_s=0.5)) > 0.5


def test_watchable_with_interruptions() -> None:
    """What comes in mid-wait finds the time that has really passed, at that speed; the timer is not late for it."""

    async def main(clock: WarpClock) -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        with stranger(after_s=0.1) as connection:
            connection.setblocking(False)
            waiting = asyncio.create_task(asyncio.sleep(60))
            await loop.sock_sendall(connection, b"?")
            await loop.sock_recv(connection, 1)
            answered_at = clock.now()
            await waiting
            return answered_at - START_MS, clock.now() - START_MS

    answered_ms, ended_ms = run_warped(main, start_ms=START_MS, max_speed=100)
    assert 9_900 <= answered_ms <= 60_000
    assert ended_ms == 60_000
