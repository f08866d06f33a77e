"""The doctor: each thing that sign-in needs in production is tried, and what the try shows is a finding."""

from __future__ import annotations

from .findings import Finding, State
from .looks import examine

__all__ = ["Finding", "State", "examine"]
