"""Ids of adjustments, so that a repeated one is dropped.  Kept for 40 days of append time, in pages of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from stream.core.page import Page

KEPT_MS: Final = 40 * 24 * 3_600_000
PAGE_IDS: Final = 512
PREFIX: Final = "ids/"


class RememberedIds:
    def __init__(self) -> None:
        self._pages: list[dict[str, int]] = []
        """By page: when (append time) which id was accepted."""
        self._page_of: dict[str, int] = {}
        self._oldest: int | None = None
        self._dirty: set[int] = set()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._page_of

    def forget(self, now: int) -> None:
        """Those accepted more than 40 days before `now`."""
        if self._oldest is None or now - self._oldest <= KEPT_MS:
            return
        for number, page in enumerate(self._pages):
            for id_ in [id_ for id_, appended in page.items() if now - appended > KEPT_MS]:
                del page[id_], self._page_of[id_]
                self._dirty.add(number)
        self._find_oldest()

    def add(self, id_: str, appended: int) -> None:
        """An id that is not here, into the first page that has room."""
        number = next((number for number, page in enumerate(self._pages) if len(page) < PAGE_IDS), len(self._pages))
        if number == len(self._pages):
            self._pages.append({})
        self._pages[number][id_] = appended
        self._page_of[id_] = number
        self._oldest = appended if self._oldest is None else min(self._oldest, appended)
        self._dirty.add(number)

    def dirty_pages(self) -> Iterator[Page]:
        for number in sorted(self._dirty):
            page = self._pages[number]
            appended = np.fromiter(page.values(), np.int64, len(page))
            yield Page(f"{PREFIX}{number}", {"appended": appended}, {"ids": list(page)})

    def clean(self) -> None:
        self._dirty.clear()

    def restore(self, pages: Iterable[Page]) -> None:
        by_number = {int(page.key.removeprefix(PREFIX)): page for page in pages}
        for number in range(len(by_number)):
            page = by_number[number]
            self._pages.append(dict(zip(page.extras["ids"], page.columns["appended"].tolist(), strict=True)))
            self._page_of |= dict.fromkeys(page.extras["ids"], number)
        self._find_oldest()

    def _find_oldest(self) -> None:
        self._oldest = min((appended for page in self._pages for appended in page.values()), default=None)
