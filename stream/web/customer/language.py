"""The customer's language: texts from catalogues, numbers and dates from CLDR.

The English texts are the keys of the catalogues (`catalogues/*.po`), which are read when a process starts.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

from babel.dates import format_date, format_skeleton, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from markupsafe import Markup

from stream.config.units import rounded_size_text, speed_text
from stream.core.speed import ORIGINAL, Speed
from stream.web.foretelling import rounded_down_text
from stream.web.rendering import TimeKind, machine_instant

CATALOGUES: Final = Path(__file__).parent / "catalogues"
LANGUAGES: Final = {"en": "English", "de": "Deutsch", "ru": "Русский"}
"""By code, in their own words; the first one is for whoever wants none of them."""

LOCALES: Final = {"en": "en_GB", "de": "de", "ru": "ru"}
MOST_WISHES: Final = 20
"""Languages of an `Accept-Language` that are looked at."""


def marked(text: str) -> str:
    """Marks a text for the catalogues that is translated where it is used."""
    return text


UNITS: Final = {
    text: text
    for text in (
        marked("B"), marked("KiB"), marked("MiB"), marked("GiB"), marked("TiB"),
        marked("bit/s"), marked("kbit/s"), marked("Mbit/s"), marked("Gbit/s"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Language:
    """Values that are put into texts are escaped; the texts are ours."""

    code: str
    catalogue: gettext.NullTranslations

    @property
    def locale(self) -> str:
        return LOCALES[self.code]

    def text(self, english: str, **values: object) -> Markup:
        return Markup(self.catalogue.gettext(english)).format(**values)

    def plural(self, one: str, many: str, number: int, **values: object) -> Markup:
        """`number` chooses the form, and stands in it as `{n}`."""
        chosen = Markup(self.catalogue.ngettext(one, many, number))
        return chosen.format(n=format_decimal(number, locale=self.locale), **values)

    def size(self, size_bytes: int) -> str:
        return self._quantity(rounded_size_text(size_bytes))

    def size_at_least(self, size_bytes: int) -> str:
        """Of what one may still use: never told to be more than it is."""
        return self._quantity(rounded_down_text(size_bytes))

    def percent(self, percent: int) -> str:
        return format_percent(Decimal(percent) / 100, locale=self.locale)

    def speed(self, speed: Speed) -> str:
        """Named as the viewer would: nobody but us knows what `original` is."""
        if speed == ORIGINAL:
            return self.text("full speed")
        if speed.in_ == speed.out:
            return self._one_way(speed.in_)
        return self.text(
            "{speed_in} in, {speed_out} out", speed_in=self._one_way(speed.in_), speed_out=self._one_way(speed.out)
        )

    def _one_way(self, bits: int | None) -> str:
        return self.text("full speed") if bits is None else self._quantity(speed_text(Speed(bits, bits)))

    def _quantity(self, english: str) -> str:
        number, _, unit = english.partition(" ")
        return f"{format_decimal(Decimal(number), locale=self.locale)}\u00a0{self.catalogue.gettext(UNITS[unit])}"


@dataclass(frozen=True)
class Calendar:
    """Instants in a language and a time zone, seen from `now`."""

    language: Language
    zone: tzinfo
    now: int

    def size(self, size_bytes: int) -> str:
        return self.language.size(size_bytes)

    def instant(self, at: int, kind: TimeKind) -> str:
        """For pictures."""
        if kind == "day":
            return self.date(at)
        return self.time(at) if kind == "clock" else f"{self.date(at)}, {self.time(at)}"

    def at(self, at: int) -> Markup:
        """As part of a sentence: "at 18:40", "on 3 Dec at 18:40"."""
        text = self.language.text
        if self._moment(at).date() == self._moment(self.now).date():
            return self._marked_up(at, text("at {time}", time=self.time(at)))
        return self._marked_up(at, text("on {date} at {time}", date=self.date(at), time=self.time(at)))

    def alone(self, at: int) -> Markup:
        """As an entry of a list."""
        return self._marked_up(at, self.instant(at, "minute"))

    def time(self, at: int) -> str:
        return format_time(self._moment(at), "short", locale=self.language.locale)

    def date(self, at: int) -> str:
        """With its year if that is another one."""
        moment = self._moment(at)
        if moment.year != self._moment(self.now).year:
            return format_date(moment, "medium", locale=self.language.locale)
        return format_skeleton("MMMd", moment, locale=self.language.locale)

    def _moment(self, at: int) -> datetime:
        return datetime.fromtimestamp(at / 1000, self.zone)

    def _marked_up(self, at: int, text: str) -> Markup:
        return Markup('<time datetime="{}">{}</time>').format(machine_instant(at), text)


@cache
def languages() -> Mapping[str, Language]:
    """All of them, by code."""
    return {code: Language(code, _catalogue(code)) for code in LANGUAGES}


def _catalogue(code: str) -> gettext.NullTranslations:
    path = CATALOGUES / f"{code}.po"
    if not path.exists():  # English
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def chosen(asked: str | None, accept: str) -> Language:
    """The language asked for (`?lang=`), or else the first of those that the browser wants that we have."""
    known = languages()
    for wish in [asked or "", *_wishes(accept)]:
        if wish in known:
            return known[wish]
    return next(iter(known.values()))


def _wishes(accept: str) -> Sequence[str]:
    """The codes of an `Accept-Language`, best first."""
    found = []
    for item in accept.split(",")[:MOST_WISHES]:
        name, _, weight = item.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            quality = 0.0
        if quality > 0:
            found.append((-quality, name.strip().partition("-")[0].lower()))
    return [code for _, code in sorted(found, key=lambda one: one[0])]
