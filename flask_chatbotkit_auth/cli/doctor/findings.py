"""The result of one look of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]
Look = tuple[State, str]


@dataclass(frozen=True)
class Finding:
    """The result of one look. A warning should be read; with a failure, people cannot sign in as they should."""

    name: str
    state: State
    text: str


def from_hints(hints: list[str], ok: str) -> Look:
    """Return a warning with all hints, or ``ok`` if there are none."""
    return ("warning", " ".join(hints)) if hints else ("ok", ok)
