"""What is decided and not enforced is in plain sight: in shadow, while the brake holds, after a release."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, ViewportSize, async_playwright, expect

from tests.web.browser import CHROMIUM, PATIENCE_MS, RULES
from tests.web.installation import CONFIG, Installation, installation, until

SERVICES = ("vm1/1", "vm1/2", "vm1/3")
HTTP = CONFIG.replace("public_url: https://quota.test", "timezone: UTC")
SHADOW = f"shadow: true\n{HTTP}"
BRAKE = HTTP.replace("token_file: vm1.token", "token_file: vm1.token, max_slowed_at_once: {percent: 0%, least: 1}")
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 320, "height": 640}
OPEN = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@asynccontextmanager
async def seen(made: Installation) -> AsyncIterator[Page]:
    """A page of somebody who is logged in as an operator; nothing may be wrong with it for the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        complaints: list[str] = []
        await page.goto(f"{made.url}/login")
        await page.fill("input[name=token]", made.anna)
        await page.click("main button")
        await page.wait_for_selector("footer button")
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        finally:
            await browser.close()
        assert complaints == []


async def in_sight(page: Page, selector: str, text: str) -> None:
    """It says so where nobody needs to scroll."""
    await expect(page.locator(selector, has_text=text).first).to_be_in_viewport(ratio=1)


async def shuts_nobody_out(page: Page) -> None:
    """Opened as far as it goes, axe-core finds nothing, and nobody scrolls sideways."""
    await page.evaluate(OPEN)
    assert await page.evaluate(SIDEWAYS) == 0, page.url
    found = await Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert found.response["violations"] == [], page.url


async def stands(page: Page, url: str, service: str, texts: tuple[str, str, str]) -> None:
    """On the overview and every other page, on the platforms' page and on the service's, at a desk and on a phone."""
    everywhere, on_platforms, on_service = texts
    for size in (DESK, PHONE):
        await page.set_viewport_size(size)
        for address, selector, text in (
            ("/", "#state .badge", everywhere),
            ("/platforms", "#platform-state-1 .badge", on_platforms),
            (f"/services/{service}", ".hero strong", on_service),
        ):
            await page.goto(f"{url}{address}")
            await in_sight(page, "#state .badge", everywhere)
            await in_sight(page, selector, text)
            if size == PHONE:  # axe takes a second
                await shuts_nobody_out(page)


async def overused(made: Installation) -> None:
    """Every service is due less, as the replica shows it."""
    for service in SERVICES:
        await made.used(service, 5000)
    await until(lambda: all(speed_of(made, service) == "slow" for service in SERVICES))


def speed_of(made: Installation, service: str) -> str:
    status = made.replica.service(service)
    assert status is not None
    return status.view.plans[0].profile


@pytest.mark.timeout(180)
async def test_in_shadow(tmp_path: Path) -> None:
    """Who is to be slow is not slowed, and each page says why."""
    async with installation(tmp_path, SERVICES, config_text=SHADOW) as made, seen(made) as page:
        await overused(made)
        texts = ("Shadow: nothing is changed on a platform", "shadow", "Not enforced: in shadow nothing is changed")
        await stands(page, made.url, "vm1/1", texts)
        assert made.platform.posts == []


@pytest.mark.timeout(180)
async def test_a_brake_that_holds_and_a_release(tmp_path: Path) -> None:
    """It comes to an open overview by itself; who waits is told from who was slowed; after a release nobody is."""
    async with installation(tmp_path, SERVICES, config_text=BRAKE) as made, seen(made) as page:
        await page.goto(made.url)
        await expect(page.locator("#state .badge")).to_have_count(0)
        await overused(made)
        await in_sight(page, "#state .badge", "Brake holds on vm1")
        await in_sight(page, "#problems", "vm1: too many would be slowed at once")
        (slowed,) = {post.service for post in made.platform.posts}
        waiting = next(service for service in SERVICES if service != slowed)
        texts = ("Brake holds on vm1", "brake holds", "Not enforced yet: the brake of vm1 holds.")
        await stands(page, made.url, waiting, texts)
        await page.goto(f"{made.url}/services/{slowed}")
        await expect(page.locator(".hero")).to_contain_text("10 Mbit/s")
        await expect(page.locator(".hero strong")).to_have_count(0)

        async with made.client(made.anna) as client:
            assert (await client.post("/platforms/vm1/release", json={})).status_code == 200
        await expect(page.locator(".hero strong")).to_contain_text("Not enforced: vm1 is released")
        texts = ("vm1 is released", "released", "Not enforced: vm1 is released, it gets its original speed back.")
        await stands(page, made.url, slowed, texts)
        await expect(page.locator("#state .badge", has_text="Brake")).to_have_count(0)
