"""Logging in and out in Chromium, with what browsers do by themselves: cookies, origins, links from elsewhere."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from stream.web.serving import serving
from tests.replica.stage import NOW
from tests.web.house import house
from tests.web.test_customer_browser import CHROMIUM


async def elsewhere(request: Request) -> HTMLResponse:
    """A page of another site: a link to ours, and a form that does harm if it can."""
    ours = request.query_params["ours"]
    return HTMLResponse(
        f"<title>Elsewhere</title><a href='{ours}/services'>look</a>"
        f"<form method=post action='{ours}/logout'><button>harm</button></form>"
    )


async def test_a_person_comes_and_goes(tmp_path: Path) -> None:
    """Asked to log in, led on to where one wanted to go, there again by a link from elsewhere, safe from a form from
    there, and out."""
    async with AsyncExitStack() as stack:
        records = [{"type": "plans", "version": 1, "plans": {}},
                   {"type": "registration", "service": "vm1/101", "plans": [], "at": NOW}]  # fmt: skip
        here = await stack.enter_async_context(house(tmp_path, records))
        url = await stack.enter_async_context(serving(here.app, "127.0.0.1", 0))
        other = Starlette(routes=[Route("/", elsewhere)])
        foreign = (await stack.enter_async_context(serving(other, "127.0.0.1", 0))).replace("127.0.0.1", "localhost")
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.push_async_callback(browser.close)
        page = await browser.new_page()

        await page.goto(f"{url}/services/vm1/101?x=1")
        await page.get_by_label("Your token").fill("qs_wrong")
        await page.keyboard.press("Enter")
        await page.get_by_text("not known").wait_for()
        await page.get_by_label("Your token").fill(here.ben)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{url}/services/vm1/101?x=1")
        assert await page.evaluate("document.cookie") == ""

        await page.goto(f"{foreign}/?ours={url}")
        await page.get_by_text("look").click()
        await page.wait_for_url(f"{url}/services")
        await page.get_by_text("vm1/101").first.wait_for()

        await page.goto(f"{foreign}/?ours={url}")
        async with page.expect_response(f"{url}/logout") as harm:
            await page.get_by_text("harm").click()
        assert (await harm.value).status in (401, 403)
        await page.goto(f"{url}/services")
        await page.get_by_text("Log out").click()
        await page.wait_for_url(f"{url}/login")
        await page.goto(f"{url}/services")
        assert page.url == f"{url}/login?next=/services"
