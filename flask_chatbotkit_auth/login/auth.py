"""What this folder needs of the state of an application."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from ..config import Config
from ..sessions import SessionRegistry
from ..stores.base import SessionRecord
from ..user import User


class Auth(Protocol):
    """The part of :class:`~flask_chatbotkit_auth.state.AuthState` that this folder uses."""

    config: Config
    registry: SessionRegistry

    @property
    def clock(self) -> Callable[[], datetime]:
        """Returns the current time."""

    def present(self, user: User) -> Any | None:
        """Return the ``current_user`` for ``user``, or ``None`` while they are suspended."""

    def prepared(self, user: User) -> User:
        """Return the user after the application's ``provision`` hook has returned for them."""

    def adopt(self, user: Any) -> tuple[str, SessionRecord]:
        """Open a session for a person whom the application signs in itself. Return its token and its row."""


Find = Callable[[], Auth]
