"""Values for and from Redis. A client answers with texts or bytes, and a script returns a hash as a flat list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def text(value: str | bytes) -> str:
    """Return an answer as text."""
    return value.decode() if isinstance(value, bytes) else value


def fields(answer: Mapping[Any, Any] | Sequence[Any]) -> dict[str, str]:
    """Return a hash as a dictionary. It is empty if the key does not exist."""
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return {text(name): text(value) for name, value in pairs}


def flat(record: Mapping[str, Any]) -> list[str | int]:
    """Return names and values alternately, for HSET. ``None`` becomes ``""``, and a ``bool`` becomes a number."""
    return [part for name, value in record.items() for part in (name, _plain(value))]


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return int(value) if isinstance(value, bool) else value
