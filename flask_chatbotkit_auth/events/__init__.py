"""The audit trail: receivers of our own signals, which write what has happened into the store.

Imported only where ``CHATBOTKIT_AUTH_EVENTS`` is on. A row holds no code, no token and no whole address. Writing is best
effort: a store that is down loses events and changes no answer. Only a sign-in by code or link is written in the same
transaction as its session.
"""

from .receivers import start
from .trail import KINDS, MOST_REFUSALS, WINDOW, Trail

__all__ = ["KINDS", "MOST_REFUSALS", "WINDOW", "Trail", "start"]
