"""What one look of the doctor has shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]
Look = tuple[State, str]


@dataclass(frozen=True)
class Finding:
    """What one look has shown. A warning is worth a thought; with a failure people cannot sign in as they should."""

    name: str
    state: State
    text: str


def from_hints(hints: list[str], ok: str) -> Look:
    """Return a warning of all hints, or ``ok`` where there are none."""
    return ("warning", " ".join(hints)) if hints else ("ok", ok)
