"""The doctor: each look tries one thing that sign-in needs in production, and reports a finding."""

from __future__ import annotations

from .findings import Finding, State
from .looks import examine

__all__ = ["Finding", "State", "examine"]
