"""What applications test their own sign-in with."""

from .sandbox import Sandbox

__all__ = ["Sandbox"]
