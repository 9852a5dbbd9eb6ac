"""The customer's page in Chromium: looks, accessibility, frames, and what a browser tells others of its address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Request, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import HTMLResponse
from starlette.routing import Route

from stream.web.customer.links import sign
from stream.web.serving import serving
from tests.replica.stage import NOW
from tests.web.house import KEY, house
from tests.web.test_customer import DAY, GIB, PLANS, adjusted, registered, used

CHROMIUM = "/usr/bin/chromium"
CASES: tuple[tuple[str, int, int, Literal["dark", "light"]], ...] = (
    ("en", 320, 568, "dark"),
    ("de", 1280, 800, "light"),
    ("ru", 320, 568, "light"),
)
TOKEN = sign("vm1/101", NOW + DAY, KEY)


def a_month() -> list[dict[str, Any]]:
    """A customer who was slowed some times and was given something."""
    begun = registered("vm1/101", ["vpn", "month"], name="web-01.example.net") | {"at": NOW - 20 * DAY}
    peaks = [used("vm1/101", day * 1440, 1100 << 20) for day in (19, 15, 9, 6, 3, 1)]
    given = adjusted("vm1/101", "credit", bytes=5 * GIB, at=NOW - DAY // 2)
    return [PLANS, begun, *peaks, given, *(used("vm1/101", ago, 400 << 20) for ago in (41, 40, 39, 20, 3))]


@asynccontextmanager
async def shown(folder: Path, **settings: Any) -> AsyncIterator[tuple[Browser, str]]:
    """A browser, and where the page is."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(house(folder, a_month(), **settings))
        url = await stack.enter_async_context(serving(here.app, "127.0.0.1", 0))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.push_async_callback(browser.close)
        yield browser, url


async def test_it_reads_well_everywhere(tmp_path: Path) -> None:
    """In each language, on the smallest phone or a desktop, light or dark: nothing sticks out, axe finds nothing, the
    speed and why stand above the fold, and nobody else is asked for anything or told the address."""
    async with shown(tmp_path) as (browser, url):
        for language, width, height, scheme in CASES:
            size: Any = {"width": width, "height": height}
            context = await browser.new_context(viewport=size, color_scheme=scheme)
            page = await context.new_page()
            asked, said = watched(page)
            await page.goto(f"{url}/c/{TOKEN}?lang={language}")
            await assert_reads_well(page, height)
            assert not said
            for request in asked:
                assert request.url.startswith(f"{url}/")
                assert "referer" not in await request.all_headers()
            await context.close()


def watched(page: Page) -> tuple[list[Request], list[str]]:
    """What it will ask for, and what the browser will say of it."""
    asked: list[Request] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request))  # playwright marks the function
    page.on("console", lambda message: said.append(message.text))
    return asked, said


async def assert_reads_well(page: Page, height: int) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    box = await page.locator(".now").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < height
    assert await page.locator("[lang]:not(html):not(nav a)").count() == 0


async def test_keys_and_languages(tmp_path: Path) -> None:
    """The keyboard reaches the languages and changes them; that sends no Referer either."""
    async with shown(tmp_path) as (browser, url):
        page = await browser.new_page(locale="ru-RU")
        await page.goto(f"{url}/c/{TOKEN}")
        assert await page.evaluate("document.documentElement.lang") == "ru"
        for _ in range(2):
            await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Deutsch"
        async with page.expect_request(lambda request: "lang=de" in request.url) as going:
            await page.keyboard.press("Enter")
        assert "referer" not in await (await going.value).all_headers()
        await page.get_by_text("Was kommt").wait_for()


@pytest.mark.parametrize("may", [True, False])
async def test_in_the_frame_of_a_panel(tmp_path: Path, may: bool) -> None:
    """Only an origin of the setting embeds it."""

    async def panel(request: Asked) -> HTMLResponse:
        return HTMLResponse(
            f"<title>Panel</title><iframe src='{request.query_params['of']}' width=400 height=600></iframe>"
        )

    async with AsyncExitStack() as stack:
        here = Starlette(routes=[Route("/", panel)])
        origin = await stack.enter_async_context(serving(here, "127.0.0.1", 0))
        browser, url = await stack.enter_async_context(shown(tmp_path, frame_ancestors=(origin,) if may else ()))
        page = await browser.new_page(locale="en-GB")
        _, said = watched(page)
        await page.goto(f"{origin}/?of={url}/c/{TOKEN}", wait_until="networkidle")
        (frame,) = page.main_frame.child_frames
        text = await frame.evaluate("document.body.innerText") if may else ""
        assert ("allowance" in text) == may
        assert any("frame-ancestors" in line for line in said) == (not may)
