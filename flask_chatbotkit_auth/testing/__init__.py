"""What applications test their own sign-in with."""

from .clock import Clock
from .sandbox.sandbox import Sandbox

__all__ = ["Clock", "Sandbox"]
