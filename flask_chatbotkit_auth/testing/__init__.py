"""What applications test their own sign-in with."""

from .authenticator import SoftwareAuthenticator
from .clock import Clock
from .contract import StoreContract
from .sandbox.sandbox import Sandbox

__all__ = ["Clock", "Sandbox", "SoftwareAuthenticator", "StoreContract"]
