"""What Redis takes and answers: texts or bytes, as the application's client has it; a hash from a script is a flat list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def text(value: str | bytes) -> str:
    """Return an answer as text."""
    return value.decode() if isinstance(value, bytes) else value


def fields(answer: Mapping[Any, Any] | Sequence[Any]) -> dict[str, str]:
    """Return a hash; one that is not there is empty."""
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=True)
    return {text(name): text(value) for name, value in pairs}


def flat(record: Mapping[str, Any]) -> list[str | int]:
    """Return names and values in turn, as HSET takes them: it knows neither ``None`` nor ``True``."""
    return [part for name, value in record.items() for part in (name, _plain(value))]


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return int(value) if isinstance(value, bool) else value
