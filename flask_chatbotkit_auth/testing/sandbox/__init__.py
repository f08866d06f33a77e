"""The sandbox: a stand-in for the ChatBotKit API that serves real HTTP on a real port."""

from .sandbox import Sandbox

__all__ = ["Sandbox"]
