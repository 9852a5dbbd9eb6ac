"""The operators' pages in a real browser, on a whole installation at work."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from playwright.sync_api import Browser, expect

from stream import wire
from stream.config.units import rounded_size_text
from stream.core.view import ServiceView
from stream.runtime.checkpoint import load
from stream.runtime.operating import Wish
from stream.web.pages.words import due_text
from tests.core.driving import exported
from tests.day.books import Books
from tests.oracle.partition import exported as by_oracle
from tests.web.browser import Visitor, browsing, log_in, overflow, violations, visiting
from tests.web.hostile import SCRIPT, as_ids
from tests.web.stage import Stage, staged

pytestmark = pytest.mark.timeout(300)
TWO_PLANS, ONE_PLAN = "vm1/104", "vm1/102"
PAGES = ["/", "/services", f"/services/{TWO_PLANS}", f"/services/{ONE_PLAN}", "/changes", "/platforms", "/dead-letters"]
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
OPEN_SOME = OPEN_ALL.replace("'details'", "'li:nth-child(-n+3) details, .verb, .letter:nth-child(-n+3) details'")
REACHABLE = """Array.from(document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]'))
    .filter((one) => one.tabIndex >= 0 && one.type !== 'hidden' && one.checkVisibility()).length"""
OUTLINE = """(() => { const one = document.activeElement;
    if (one === document.body) { return null; }
    one.dataset.walked = "";
    return getComputedStyle(one).outlineStyle; })()"""
PHONE = {"viewport": {"width": 320, "height": 640}}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage")) as installation:
        yield installation


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def cookies(stage: Stage, browser: Browser) -> Mapping[str, Any]:
    """Of an operator who has logged in."""
    with visiting(browser, stage.url) as visitor:
        log_in(visitor, stage.tokens["operate"])
        return visitor.context.storage_state()


@pytest.fixture
def anna(stage: Stage, browser: Browser, cookies: Any) -> Iterator[Visitor]:
    """An operator, at a desk."""
    with visiting(browser, stage.url, storage_state=cookies, timezone_id="Europe/Berlin") as visitor:
        yield visitor


def views(stage: Stage) -> dict[str, ServiceView]:
    """What the trackers have made durable, read by their own code."""

    async def read() -> dict[str, ServiceView]:
        found: dict[str, ServiceView] = {}
        for partition in range(stage.log.partitions):
            tracker = await load(stage.log, partition, lambda name: wire.partition_of(name, stage.log.partitions))
            found |= {name: view for name in tracker.names() if (view := tracker.service(name)) is not None}
        return found

    return stage.run(read())


def compared(stage: Stage, compare: Callable[[Mapping[str, ServiceView]], None]) -> None:
    """With what the trackers know; anew if they have counted on meanwhile."""
    while True:
        known = views(stage)
        try:
            compare(known)
        except AssertionError:
            if views(stage) == known:
                raise
        else:
            return


# ---------------------------------------------------------------- what they say


def test_what_the_pages_are_compared_with_is_what_the_oracle_says(stage: Stage) -> None:
    """The trackers' whole state of every service, and each decision and warning in its place, from the log alone."""

    async def wrong() -> list[object]:
        books = Books(stage.log)
        await books.read()
        due = {name: service for oracle in books.oracles for name, service in oracle.services.items()}
        counted = await books.counted()
        differing = [name for name in due.keys() & counted.keys() if by_oracle(due[name]) != exported(counted[name])]
        return [*differing, *(due.keys() ^ counted.keys()), *books.wrong_outcomes()]

    async def never_wrong_for_long() -> None:
        async with asyncio.timeout(25):  # what was read last may not be counted yet
            while await wrong():
                pass

    stage.run(never_wrong_for_long())


def test_a_service_page_says_what_the_tracker_knows(stage: Stage, anna: Visitor) -> None:
    """Speed, profiles, sums and every slice of every window stand on each service's page."""

    def compare(known: Mapping[str, ServiceView]) -> None:
        for name, view in known.items():
            if name.startswith("vm1/"):
                says(name, view)

    def says(name: str, view: ServiceView) -> None:
        assert anna.open(f"/services/{name}") == 200
        expect(anna.page.locator(".hero .speed")).to_have_text(due_text(view.speed))
        for card, plan in zip(anna.page.locator(".plans > section").all(), view.plans, strict=True):
            expect(card.locator("h2")).to_contain_text(f"{plan.plan} in {plan.profile} since")
            expect(card.locator("> p").first).to_contain_text(f"{rounded_size_text(plan.usage_bytes)} ")
            shown = [one.get_attribute("title") for one in card.locator("td.number").all()]
            assert shown == ([f"{part.bytes:,} bytes" for part in plan.window] if len(plan.window) > 1 else [])

    compared(stage, compare)


def test_the_speed_is_explained_in_a_sentence(anna: Visitor) -> None:
    """A slowed service says since when and because of how much, and leads to the decision."""
    anna.open(f"/services/{TWO_PLANS}")
    hero = anna.page.locator(".hero")
    expect(hero).to_contain_text(
        re.compile(r"since \d+ \w+, \d\d:\d\d, because [\d.]+ TiB of 1 TiB were used this month")
    )
    hero.get_by_role("link", name="How it was decided").click()
    decided = anna.page.locator("details:target")
    expect(decided).to_have_attribute("open", "")
    expect(decided).to_contain_text("month: full → slow")


def test_the_forecast_is_shown(stage: Stage, anna: Visitor) -> None:
    """What comes for certain stands on the page: the month's end gives the speed back."""
    anna.open(f"/services/{TWO_PLANS}")
    expect(anna.page.locator(".forecast")).to_contain_text("month: back to 100 Mbit/s at 1 Apr, 00:00.")


def test_the_overview_counts_as_the_trackers_do(stage: Stage, anna: Visitor) -> None:
    """Services by plan and profile, and the sources."""

    def compare(known: Mapping[str, ServiceView]) -> None:
        counted = Counter(f"plan={plan.plan}&profile={plan.profile}" for view in known.values() for plan in view.plans)
        anna.open("/")
        for row in anna.page.locator(".legend tbody tr").all():
            address = str(row.locator("a").get_attribute("href")).partition("?")[2]
            assert int(row.locator(".number").first.inner_text()) == counted[address]

    compared(stage, compare)
    expect(anna.page.locator("#sources")).to_contain_text("vm1")
    expect(anna.page.locator("#problems")).to_contain_text("records were rejected within a day")


def test_services_are_found_filtered_and_paged(stage: Stage, anna: Visitor) -> None:
    """By a beginning of id or name; by plan and profile; page after page they are all there, once."""
    known = views(stage)
    anna.open("/")
    anna.page.keyboard.press("/")
    anna.page.keyboard.type("gateway-2")
    anna.page.keyboard.press("Enter")
    expect(anna.page.locator(".list tbody th a")).to_have_text(["vm1/102"])
    anna.open("/services?plan=month&profile=slow&slowed=1")
    slow = sorted(
        name for name, view in known.items() if any((one.plan, one.profile) == ("month", "slow") for one in view.plans)
    )
    expect(anna.page.locator(".list tbody th a")).to_have_text(slow)
    seen: list[str] = []
    anna.open("/services?sort=usage&descending=1")
    while True:
        seen += anna.page.locator(".list tbody th a").all_text_contents()
        following = anna.page.get_by_role("link", name="Next", exact=True)
        if following.count() == 0:
            break
        following.click()
    assert sorted(seen) == sorted(known)


def test_each_change_opens_to_its_explanation_and_receipt(anna: Visitor) -> None:
    """Under a line: used, quota, the window slice by slice, the place in the log, and what the platform shows."""
    anna.open(f"/services/{ONE_PLAN}")
    line = anna.page.locator(".changes > li.down", has_text="Set").first
    line.locator("summary").click()
    for text in ("exceeded", "1000 MiB (1,048,576,000 bytes)", "10 minutes", "The platform shows"):
        expect(line).to_contain_text(text)
    assert line.locator("tbody tr").count() == 6


def test_times_stand_in_the_viewers_zone_and_tell_utc(stage: Stage, browser: Browser, cookies: Any) -> None:
    """In Tokyo it is eight hours later than in UTC, which the title tells."""
    with visiting(browser, stage.url, storage_state=cookies, timezone_id="Asia/Tokyo") as visitor:
        visitor.open(f"/services/{ONE_PLAN}")
        time = visitor.page.locator(".changes time").first
        hour = int(str(time.get_attribute("title"))[11:13])
        assert str(time.get_attribute("title")).endswith(" UTC")
        expect(time).to_contain_text(f"{(hour + 9) % 24:02}:")
        expect(visitor.page.locator("[data-zone]")).to_have_text("Asia/Tokyo")


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize("settings", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
def test_no_page_shuts_anybody_out(stage: Stage, browser: Browser, cookies: Any, settings: Any) -> None:
    """axe-core finds nothing, with forms and some lines opened, in light and in dark, at a desk and on a phone."""
    with visiting(browser, stage.url, storage_state=cookies, **settings) as visitor:
        for address in [*PAGES, "/no-such-page"]:
            visitor.open(address)
            visitor.page.evaluate(OPEN_SOME)
            assert violations(visitor.page) == [], address
    with visiting(browser, stage.url, **settings) as stranger:
        stranger.open("/login")
        assert violations(stranger.page) == []


def test_nobody_scrolls_sideways_on_a_small_phone(stage: Stage, browser: Browser, cookies: Any) -> None:
    """320 pixels hold every page, opened as far as it goes, those of hostile services included."""
    with visiting(browser, stage.url, storage_state=cookies, **PHONE) as visitor:
        odd = [f"/services/{quote(name, safe='')}" for name in as_ids("odd").values()]
        for address in [*PAGES, *odd[:: len(odd) // 8], "/services?q=odd"]:
            visitor.open(address)
            visitor.page.evaluate(OPEN_ALL)
            assert overflow(visitor.page) == 0, address


def test_everything_works_without_scripts(stage: Stage, browser: Browser, cookies: Any) -> None:
    """With JavaScript off the pages say the same, forms included; times stand in the configured zone."""
    with visiting(browser, stage.url, storage_state=cookies, java_script_enabled=False) as visitor:
        for address in PAGES:
            assert visitor.open(address) == 200
            expect(visitor.page.locator("h1")).to_be_visible()
        visitor.open("/services/vm1/110")
        visitor.page.locator("#verb-credit summary").click()
        visitor.page.fill("#verb-credit input[name=size]", "3 MiB")
        visitor.page.fill("#verb-credit input[name=why]", "without scripts")
        visitor.page.click("#verb-credit button")
        expect(visitor.page.get_by_role("status")).to_have_text("The credit was counted.")
        expect(visitor.page.locator(".changes")).to_contain_text("by anna (without scripts)")
        expect(visitor.page.locator("footer")).to_contain_text("Europe/Berlin")


def test_a_keyboard_reaches_everything(stage: Stage, browser: Browser, cookies: Any) -> None:
    """Tab walks over every link, field and button, each with an outline; the first one skips to the content."""
    with visiting(browser, stage.url, storage_state=cookies, java_script_enabled=False) as visitor:  # nothing moves
        for address in PAGES:
            visitor.open(address)
            wanted = visitor.page.evaluate(REACHABLE)
            for _ in range(2 * wanted):
                visitor.page.keyboard.press("Tab")
                outline = visitor.page.evaluate(OUTLINE)
                if outline is None:
                    break
                assert outline != "none", address
            assert visitor.page.locator("[data-walked]").count() == wanted, address
        visitor.open("/")
        visitor.page.keyboard.press("Tab")
        visitor.page.keyboard.press("Enter")
        assert visitor.page.evaluate("document.activeElement.id") == "content"


# ---------------------------------------------------------------- live


def test_a_page_follows_without_being_loaded_again(stage: Stage, anna: Visitor) -> None:
    """A correction by another appears by itself; what was opened stays open, and the focus and the place stay."""
    anna.open("/services/vm1/108")
    anna.page.evaluate("window.notLoadedAgain = true")
    opened = anna.page.locator(".changes details").last
    opened.locator("summary").focus()
    anna.page.keyboard.press("Enter")
    anchor = opened.get_attribute("id")
    place = anna.page.evaluate("window.scrollY")
    stage.adjust(Wish(service="vm1/108", kind="pin", plan="vpn", profile="10Mbit", why="live"), by="ben")
    expect(anna.page.locator(".changes > li").first).to_contain_text("by ben (live)")
    expect(anna.page.locator(".hero .speed")).to_have_text("10 Mbit/s")
    assert anna.page.evaluate("window.notLoadedAgain")
    assert anna.page.locator(f"#{anchor}").get_attribute("open") is not None
    assert anna.page.evaluate("document.activeElement.parentElement.id") == anchor
    assert abs(anna.page.evaluate("window.scrollY") - place) < 200


def test_the_overview_follows(stage: Stage, anna: Visitor) -> None:
    """A service of a meter that overdoes it comes to the overview by itself."""
    anna.open("/")
    now = stage.clock.now()
    stage.publish(wire.encode_delta("meter/7", now - 30_000, now - 1_000, 2_000_000_000, 0))
    expect(anna.page.locator("#recent")).to_contain_text("meter/7")
    expect(anna.page.locator("#recent")).to_contain_text("vpn: default → 50Mbit")


# ---------------------------------------------------------------- steering


def test_corrections_are_made_by_who_is_logged_in(stage: Stage, anna: Visitor) -> None:
    """Exempt, pin, unpin and reset: counted, shown at once, by the name of the token."""
    anna.open("/services/vm1/111")
    for kind, fill, told in (
        ("exempt", {"for": "2h", "why": "outage"}, "exemption"),
        ("pin", {"for": "3h", "why": "abuse"}, "pin"),
        ("unpin", {"why": "settled"}, "removal of the pin"),
        ("reset", {"why": "our mistake"}, "reset"),
    ):
        form = anna.page.locator(f"#verb-{kind}")
        form.locator("summary").click()
        for name, text in fill.items():
            form.locator(f"input[name={name}]").fill(text)
        form.locator("button").click()
        expect(anna.page.get_by_role("status")).to_have_text(f"The {told} was counted.")
        expect(anna.page.locator(".changes")).to_contain_text(f"by anna ({fill['why']})")
    view = views(stage)["vm1/111"]
    assert view.plans[0].exempt_until is not None
    assert view.plans[0].pinned is None


def test_what_cannot_be_understood_is_said_where_it_was_written(anna: Visitor) -> None:
    """A size without a unit that exists: the page comes back with what was written, and says what to write."""
    anna.open("/services/vm1/112")
    anna.page.locator("#verb-credit summary").click()
    anna.page.fill("#verb-credit input[name=size]", "50 GB/s")
    anna.page.fill("#verb-credit input[name=why]", "ticket 12")
    anna.page.click("#verb-credit button")
    expect(anna.page.get_by_role("alert")).to_contain_text("'GB/s' is not a unit of a size")
    expect(anna.page.locator("#verb-credit input[name=why]")).to_have_value("ticket 12")
    expect(anna.page.locator("#verb-credit")).to_have_attribute("open", "")


def test_a_platform_is_released_and_allowed_again(stage: Stage, anna: Visitor) -> None:
    """Both from the page; a released platform is in plain sight on every page."""
    anna.open("/platforms")
    anna.page.locator("#release-1 summary").click()
    anna.page.click("#release-1 button")
    expect(anna.page.get_by_role("status")).to_contain_text("It is released")
    anna.open("/services")
    expect(anna.page.locator("#state")).to_contain_text("vm1 is released")
    anna.open(f"/services/{TWO_PLANS}")
    expect(anna.page.locator(".hero")).to_contain_text("Not enforced: vm1 is released")
    anna.open("/platforms")
    anna.page.locator("#allow-1 summary").click()
    anna.page.fill("#allow-1 input[name=for]", "2h")
    anna.page.click("#allow-1 button")
    expect(anna.page.get_by_role("status")).to_contain_text("The brake lets everything pass")
    expect(anna.page.locator("main")).to_contain_text("The brake lets everything pass until")
    expect(anna.page.locator("#state")).not_to_contain_text("released")


def test_who_may_only_read_gets_no_forms_and_is_refused(stage: Stage, browser: Browser) -> None:
    """Neither is there anything to press, nor does sending it anyway do anything."""
    with visiting(browser, stage.url) as ben:
        log_in(ben, stage.tokens["read"])
        for address in (f"/services/{ONE_PLAN}", "/platforms"):
            ben.open(address)
            assert ben.page.locator("main form").count() == 0
        csrf = str(ben.page.locator("footer input[name=csrf]").get_attribute("value"))
        for address, form in (
            (f"/services/{ONE_PLAN}", {"kind": "reset"}),
            ("/platforms", {"platform": "vm1", "verb": "release"}),
        ):
            answer = ben.context.request.post(address, form={"csrf": csrf, **form}, headers={"Origin": stage.url})
            assert answer.status == 403


def test_nobody_gets_in_without_logging_in(stage: Stage) -> None:
    """Every page leads to the login, and afterwards back."""
    for address in PAGES:
        answer = httpx.get(f"{stage.url}{address}")
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/login?next=")


# ---------------------------------------------------------------- hostile


def test_hostile_texts_are_shown_and_do_nothing(stage: Stage, anna: Visitor) -> None:
    """Ids, labels, reasons and dead letters that want to do harm stand on every page as text."""
    addresses = ["/services?q=odd", "/changes", "/dead-letters", "/", f"/services?q={quote(SCRIPT)}"]
    for address in addresses:
        anna.open(address)
        assert anna.page.evaluate("window.harmed") is None, address
    anna.open("/services?q=odd")
    expect(anna.page.locator("main")).to_contain_text(SCRIPT)
    anna.open("/dead-letters")
    expect(anna.page.locator("main")).to_contain_text("level=error event=forged")


def test_each_hostile_service_has_its_page(stage: Stage, anna: Visitor) -> None:
    """Its link in the list leads to its own page, whatever its id is made of."""
    anna.open("/services?q=odd")
    links = {
        str(link.text_content()): str(link.get_attribute("href"))
        for link in anna.page.locator(".list tbody th a").all()
    }
    known = [name for name in views(stage) if name.startswith("odd/")]
    assert sorted(links) == sorted(known)
    for name, address in links.items():
        assert anna.open(address) == 200, name
        assert anna.page.locator("h1").text_content() == name
        table = str(anna.page.get_by_role("link", name="As CSV").evaluate("(link) => link.pathname"))
        assert unquote(table) == f"/api/v1/history.csv/{name}"
        assert anna.page.evaluate("window.harmed") is None
