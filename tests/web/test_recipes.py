"""The README's programs that make a customer's link, run as they are printed: the product takes what they make."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stream.adapters.clock import SystemClock
from stream.bootstrap.web import web_settings
from stream.config.load import load
from stream.web.customer.links import sign
from tests.web.house import house
from tests.web.test_customer import DAY, HOUR, PLANS, README, registered, text_of, used

CONFIGURATION = """\
log: sqlite:q.db
plans: {{hour: {{window: {{slide: 1h}}, profiles: {{all: {{speed: original}}}}}}}}
web: {settings}
"""
PROGRAMS: dict[str, Sequence[str]] = {
    "php": ("php", "-r", "{code}\necho {call};"),
    "python": (sys.executable, "-c", "{code}\nprint({call})"),
}


def printed(language: str) -> tuple[str, str]:
    """The function, and the call that stands below it as a comment."""
    found = re.search(rf"```{language}\n([^`]*quota_link[^`]*)\n(?://|#) (quota_link[^`]*)\n```", README)
    assert found
    return found[1], found[2]


def made(folder: Path, language: str, service: str) -> str:
    """The link that the recipe makes, of another service than the printed one."""
    code, call = printed(language)
    run = [part.format(code=code, call=call.replace("vm1/101", service)) for part in PROGRAMS[language]]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def key_and_settings(folder: Path) -> str:
    """Runs the printed command that makes a key; the settings that are printed beside it."""
    found = re.search(r"\n(openssl rand .*?) +# web: (\{.*\})\n", README)
    assert found
    subprocess.run(found[1], shell=True, cwd=folder, check=True)
    return found[2]


@pytest.mark.parametrize("language", PROGRAMS)
async def test_the_product_takes_what_a_recipe_makes(tmp_path: Path, language: str) -> None:
    """A panel's link opens its service for its days; not a byte later, changed, or with another key."""
    file = tmp_path / "quota-stream.yaml"
    file.write_text(CONFIGURATION.format(settings=key_and_settings(tmp_path)))
    config = load(file)
    assert config.web is not None
    settings = web_settings(config, config.web)
    names = ("vm1/101", "vm1/ü 1?&=")
    records = [
        PLANS,
        *(record for name in names for record in (registered(name, name=f"this is {name}"), used(name, 5, 1))),
    ]
    async with (
        house(tmp_path, records, public_url=settings.public_url, link_keys=settings.link_keys) as here,
        here.client() as browser,
    ):
        here.clock.at = now = SystemClock().now()
        for name in names:
            link = made(tmp_path, language, name)
            assert link.startswith("https://quota.example.com/c/")
            page = await browser.get(link)
            assert (page.status_code, f"this is {name}" in text_of(page.text)) == (200, True)
        for after, status in ((30 * DAY - HOUR, 200), (30 * DAY + HOUR, 404)):
            here.clock.at = now + after
            assert (await browser.get(link)).status_code == status
        here.clock.at = now
        for place in range(link.index("/c/") + 3, len(link)):
            changed = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
            assert (await browser.get(changed)).status_code == 404, changed
        key_and_settings(tmp_path)
        assert (await browser.get(link)).status_code == 404
        assert (await browser.get(made(tmp_path, language, name))).status_code == 200


def test_the_vector_is_one_of_ours() -> None:
    """What README gives to check one's own program by."""
    assert f"`{sign('vm1/101', 1_764_547_200_000, b'k' * 64)}`" in README
