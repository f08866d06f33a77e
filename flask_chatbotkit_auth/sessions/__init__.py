"""The sessions of an application, which a browser or an app holds by a token, and which any worker can end."""

from .registry import ForeignSession, SessionRegistry
from .rows import shown
from .tokens import APP_TOKEN_PREFIX, TOKEN_PREFIX, session_id

__all__ = ["APP_TOKEN_PREFIX", "TOKEN_PREFIX", "ForeignSession", "SessionRegistry", "session_id", "shown"]
