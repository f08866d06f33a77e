"""The objects behind Flask's proxies.

Each use of a proxy looks its object up anew, which costs as much as ten uses of the object itself. So a function of every
request gets the object once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, request, session

if TYPE_CHECKING:
    from flask import Flask, Request
    from flask.sessions import SessionMixin


def running_app() -> Flask:
    """Return the running application.

    :raises RuntimeError: there is no application context.
    """
    return cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]


def this_request() -> Request:
    """Return the request of this context.

    :raises RuntimeError: there is no request.
    """
    return cast("Request", request._get_current_object())  # type: ignore[attr-defined]


def this_session() -> SessionMixin:
    """Return the Flask session of this context. It counts as read, as with Flask's ``session``.

    :raises RuntimeError: there is no request.
    """
    return cast("SessionMixin", session._get_current_object())  # type: ignore[attr-defined]
