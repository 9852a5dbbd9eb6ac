"""Texts that somebody may choose to do harm: names, labels, tags, reasons, dead letters.  One list for every surface.

The log takes less from some places than from others (a service's id has no control characters, a label at most 200):
`as_ids`, `as_labels` and `as_reasons` are what gets through.  Whoever shows one of these shows it as text: as itself,
or with escapes, but never as what it pretends.
"""

from __future__ import annotations

import re
from typing import Final

from stream.wire.fields import CONTROL, MAX_ID_CHARACTERS, MAX_TEXT_CHARACTERS

SCRIPT: Final = "<script>window.harmed=1</script>"
IMAGE: Final = '"><img src=x onerror="window.harmed=1">'
ESCAPE: Final = "\x1b[2J\x1b]0;harmed\x07\x1b[31mred"
RIGHT_TO_LEFT: Final = "invoice\u202efdp.exe"
LONG: Final = "long " * 2048
"""10 kB."""

HOSTILE: Final = {
    "script": SCRIPT,
    "script in upper case, unclosed": "<SCRIPT SRC=//harm.example/x.js",
    "image": IMAGE,
    "attribute, single quotes": "' onmouseover='window.harmed=1",
    "out of a title": "</title><script>window.harmed=1</script>",
    "out of a script": "</script><script>window.harmed=1</script>",
    "svg": "<svg/onload=window.harmed=1>",
    "scheme": "javascript:window.harmed=1",
    "template": "{{ 7 * 7 }}{% raw %}${7*7}<%= 7 * 7 %>",
    "entity": "&lt;script&gt;&#x3c;&amp;",
    "comment": "<!-- --><![CDATA[ ]]>",
    "formula": "=cmd|' /C calc'!A0",
    "formula with a plus": "+1+1",
    "formula with a minus": "-1+1",
    "formula with an at": "@SUM(1+1)",
    "formula after a tab": "\t=1+1",
    "formula after a return": "\r=1+1",
    "escape": ESCAPE,
    "escape of one byte": "\x9b31mred\x9d0;harmed\x9c",
    "newline": "first\nlevel=error event=forged",
    "return and newline": "first\r\nSet-Cookie: session=forged\r\n\r\nbody",
    "other newlines": "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "backspace": "harmless\b\b\b\b\b\b\b\bharmed",
    "right to left": RIGHT_TO_LEFT,
    "isolates": "\u2066\u2067a\u2069\u200f\u061cb",
    "invisible": "vm1\u200b/\u200d101\ufeff\u00ad",
    "null": "a\x00b",
    "replacement": "a\ufffdb\uffff",
    "quotes": "\"'`\u201c\u2019;--",
    "backslashes": "\\n\\x1b\\\\ \\",
    "path": "../../etc/passwd",
    "path, encoded": "%2e%2e%2f%00%0d%0a?x=1&y=2#z",
    "shell": "$(touch harmed); `touch harmed` | touch harmed",
    "sql": "'; DROP TABLE entries; --",
    "like": "100%_*?[a-z]",
    "rich": "[red]red[/red][link=http://harm.example]here[/link]",
    "format": "%s%n%(x)s{0}{x!r}",
    "emoji": "\U0001f469\u200d\U0001f4bb e\u0301",
    "stacked": "Z" + "\u0300\u0316" * 60,
    "wide": "\ufdfd\U0001242b",
    "empty": " ",
    "long": LONG,
    "long without a space": "x" * 10_240,
}  # fmt: skip
"""By what they try."""


def as_ids(platform: str = "vm1") -> dict[str, str]:
    """As ids of a platform's services: no control characters, cut, and numbered, so that each is another."""
    room = MAX_ID_CHARACTERS - len(platform) - 4
    return {
        kind: f"{platform}/{re.sub(f'[{CONTROL}]', '', text)[:room]}{number}"
        for number, (kind, text) in enumerate(HOSTILE.items())
    }


def as_labels() -> dict[str, str]:
    """As values of labels: cut."""
    return {kind: text[:MAX_ID_CHARACTERS] for kind, text in HOSTILE.items()}


def as_reasons() -> dict[str, str]:
    """As what an operator gives as the reason of an adjustment: cut."""
    return {kind: text[:MAX_TEXT_CHARACTERS] for kind, text in HOSTILE.items()}
