"""Filters, order and pages: which records of a list an answer shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_PAGE = 100

_META_KEY = re.compile(r"meta(?:\.(?P<dotted>.+)|\[(?P<bracketed>.+)\])", re.DOTALL)


@dataclass(frozen=True)
class Listing:
    """The query of a list, and the settings of the sandbox that apply to it."""

    query: Mapping[str, str]
    page_size: int
    ignore_filters: bool

    def select(
        self, items: Iterable[dict[str, Any]], *, email_filter: bool, order: str = "desc"
    ) -> tuple[list[dict[str, Any]], str]:
        """Return one page of ``items``, and its cursor: the id of its last item, or ``""`` if the page is empty.

        The last page has a cursor, too. A cursor that is not the id of an item is followed by an empty page.

        :raises ValueError: the ``order`` of the query is invalid.
        """
        order = self.query.get("order", order)
        if order not in ("asc", "desc"):
            raise ValueError('"order" must be one of [asc, desc]')
        size = min(self._take(), self.page_size)
        everything = sorted(items, key=_position, reverse=order == "desc")
        cursor = self.query.get("cursor", "")
        if cursor:
            place = next((place for place, item in enumerate(everything) if item["id"] == cursor), None)
            everything = [] if place is None else everything[place + 1 :]
        found = (
            everything if self.ignore_filters else [each for each in everything if self._matches(each, email_filter)]
        )
        shown = found[:size]
        return shown, shown[-1]["id"] if shown else ""

    def _take(self) -> int:
        take = self.query.get("take", "")
        number = int(take) if take.isdecimal() and take.isascii() else 0
        return min(number or LARGEST_PAGE, LARGEST_PAGE)

    def _matches(self, item: dict[str, Any], email_filter: bool) -> bool:
        if email_filter and "email" in self.query and item.get("email") != self.query["email"]:
            return False
        meta = item.get("meta") or {}
        for key, wanted in self.query.items():
            match = _META_KEY.fullmatch(key)
            if match is not None and not _equal(meta.get(match["dotted"] or match["bracketed"]), wanted):
                return False
        return True


def _position(item: dict[str, Any]) -> tuple[float, str]:
    return item.get("createdAt") or 0, item["id"]


def _equal(value: Any, wanted: str) -> bool:
    """Compare value and type. A query can name texts and booleans, but no numbers."""
    if wanted in ("true", "false"):
        return value is (wanted == "true")
    return isinstance(value, str) and value == wanted
