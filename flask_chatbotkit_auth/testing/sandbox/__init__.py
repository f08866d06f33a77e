"""A stand-in of the ChatBotKit API that serves real HTTP on a real port, with faults on demand."""

from .sandbox import Sandbox

__all__ = ["Sandbox"]
