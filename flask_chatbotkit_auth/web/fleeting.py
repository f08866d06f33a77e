"""A Flask session that is not saved, for answers that set no cookie."""

from __future__ import annotations

from typing import Any

from flask.globals import request_ctx
from flask.sessions import NullSession, SecureCookieSession


class Fleeting(NullSession):
    """A Flask session that can be written to, and is discarded after the answer.

    Flask saves no null session, whatever session interface the application uses.
    """


for _name in ("__setitem__", "__delitem__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(Fleeting, _name, getattr(SecureCookieSession, _name))


def save_no_session() -> None:
    """Replace the session of this request with an empty one that is not saved."""
    # Flask has no public way to replace the session of a request. The attribute depends on its version (3.1.3).
    context: Any = request_ctx
    setattr(context, "_session" if hasattr(context, "_session") else "session", Fleeting())
