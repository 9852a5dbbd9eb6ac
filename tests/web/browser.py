"""A real browser for tests: Debian's Chromium, which tells whatever goes wrong in a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
HARMLESS = ("Password forms should have", "Failed to load resource: the server responded with a status of 4")
"""What Chromium says of forms and answers that are as they should be."""
PATIENCE_MS = 30_000
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def browsing() -> Iterator[Browser]:
    """The browser, for as long as the context lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(slots=True)
class Visitor:
    """Somebody in front of the pages; `complaints` is what the browser finds wrong with them."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str) -> int:
        """Its status."""
        answer = self.page.goto(address)
        assert answer is not None
        return answer.status


@contextmanager
def visiting(browser: Browser, url: str, **settings: Any) -> Iterator[Visitor]:
    """A visitor of their own, without the memory of others; ends with an error if the browser complained."""
    context = browser.new_context(base_url=url, **settings)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    visitor = Visitor(context, context.new_page())

    def told(kind: str, text: str) -> None:
        if not any(part in text for part in HARMLESS):
            visitor.complaints.append(f"{kind}: {text}")

    visitor.page.on("console", lambda message: told(message.type, message.text))
    visitor.page.on("pageerror", lambda error: told("error", str(error)))
    visitor.page.on("dialog", lambda dialog: told("dialog", dialog.message))
    try:
        yield visitor
    finally:
        context.close()
    assert visitor.complaints == []


def log_in(visitor: Visitor, token: str) -> None:
    visitor.open("/login")
    visitor.page.fill("input[name=token]", token)
    visitor.page.click("main button")
    visitor.page.wait_for_selector("footer button")


def violations(page: Page) -> list[str]:
    """What axe-core finds, by rule and place."""
    found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    return [
        f"{one['id']}: {node['html'][:150]} {node.get('failureSummary', '')[:200]}"
        for one in found.response["violations"]
        for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """By how many pixels one would have to scroll sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
