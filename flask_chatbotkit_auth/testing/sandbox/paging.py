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

        :param order: the order if the query names none, or none that exists.
        """
        if self.query.get("order") in ("asc", "desc"):
            order = self.query["order"]
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
        # As JavaScript's parseInt reads it: the whole number at the beginning.
        found = re.match(r"\s*([+-]?[0-9]{1,9})", self.query.get("take", ""))
        return min(max(1, (int(found[1]) if found else 0) or LARGEST_PAGE), LARGEST_PAGE)

    def _matches(self, item: dict[str, Any], email_filter: bool) -> bool:
        if email_filter and self.query.get("email") and item.get("email") != self.query["email"]:
            return False
        for key, wanted in self.query.items():
            match = _META_KEY.fullmatch(key)
            if match is None or not wanted:  # a filter without a value is none
                continue
            value = item.get("meta")
            for part in (match["dotted"] or match["bracketed"]).split("."):
                value = value.get(part) if isinstance(value, dict) else None
            if not _equal(value, wanted):
                return False
        return True


def _position(item: dict[str, Any]) -> tuple[float, str]:
    return item.get("createdAt") or 0, item["id"]


def _equal(value: Any, wanted: str) -> bool:
    """Compare value and type. A query can name texts and booleans, but no numbers."""
    if wanted in ("true", "false"):
        return value is (wanted == "true")
    return isinstance(value, str) and value == wanted
