"""Which records of a list an answer shows: filters, order, pages."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LARGEST_PAGE = 100

_META_KEY = re.compile(r"meta(?:\.(?P<dotted>.+)|\[(?P<bracketed>.+)\])", re.DOTALL)


@dataclass(frozen=True)
class Listing:
    """What a query asks of a list, and what the stand-in is set to do with it."""

    query: Mapping[str, str]
    page_size: int
    ignore_filters: bool

    def select(self, items: Iterable[dict[str, Any]], *, email_filter: bool) -> tuple[list[dict[str, Any]], str]:
        """Return one page of ``items`` and the cursor of the next, ``""`` at the end.

        :raises ValueError: the ``take``, ``order`` or ``cursor`` of the query makes no sense.
        """
        order = self.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise ValueError("order must be asc or desc")
        size = min(self._take(), self.page_size)
        found = items if self.ignore_filters else [item for item in items if self._matches(item, email_filter)]
        # A cursor is a position and not an offset, so what comes or goes between two pages shifts nothing.
        rows = sorted(((_position(item), item) for item in found), key=lambda row: row[0], reverse=order == "desc")
        after = _decode(self.query.get("cursor", ""))
        if after is not None:
            rows = [row for row in rows if (row[0] < after if order == "desc" else row[0] > after)]
        shown = rows[:size]
        return [item for _, item in shown], _encode(shown[-1][0]) if len(rows) > size else ""

    def _take(self) -> int:
        take = self.query.get("take", str(LARGEST_PAGE))
        if not take.isdecimal() or int(take) < 1:
            raise ValueError("take must be a positive integer")
        return min(int(take), LARGEST_PAGE)

    def _matches(self, item: dict[str, Any], email_filter: bool) -> bool:
        if email_filter and "email" in self.query and item.get("email") != self.query["email"]:
            return False
        meta = item.get("meta") or {}
        for key, wanted in self.query.items():
            match = _META_KEY.fullmatch(key)
            if match is not None:
                value = meta.get(match["dotted"] or match["bracketed"])
                if value is None or (value if isinstance(value, str) else json.dumps(value)) != wanted:
                    return False
        return True


def _position(item: dict[str, Any]) -> tuple[float, str]:
    return item.get("createdAt") or 0, item["id"]


def _encode(position: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _decode(cursor: str) -> tuple[float, str] | None:
    if not cursor:
        return None
    try:
        created_at, key = json.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("cursor is not one of this list") from error
    if not isinstance(created_at, (int, float)) or not isinstance(key, str):
        raise ValueError("cursor is not one of this list")
    return created_at, key
