"""The test kit: a sandbox of the API, a clock, an authenticator, and the test suite for stores."""

from .authenticator import SoftwareAuthenticator
from .clock import Clock
from .contract import StoreContract
from .sandbox.sandbox import Sandbox

__all__ = ["Clock", "Sandbox", "SoftwareAuthenticator", "StoreContract"]
