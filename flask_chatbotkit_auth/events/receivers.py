"""What each of our signals adds to the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from flask import Flask

from .. import signals
from ..exceptions import ConfigurationError, RateLimited, SignInDenied, SignUpDisabled
from ..identifier import mask
from ..stores.base import Store
from ..stores.events import EventStore
from .trail import Trail


def start(app: Flask, store: Store, clock: Callable[[], datetime], keep: timedelta) -> Trail:
    """Connect the audit trail of an application to our signals, and return it.

    :raises ConfigurationError: the application's store does not keep events.
    """
    if not isinstance(store, EventStore):
        raise ConfigurationError(
            f"CHATBOTKIT_AUTH_EVENTS: {type(store).__name__} does not keep events. Make it an EventStore as well, or use a "
            "store of ours."
        )
    trail = Trail(cast(EventStore, store), clock, keep)
    # The application keeps them: a signal holds its receivers weakly.
    receivers = [(signal, _receiver(trail, add)) for signal, add in _ADDED.items()]
    for signal, receiver in receivers:
        getattr(signals, signal).connect(receiver, app)
    app.extensions["chatbotkit_auth_events"] = receivers
    return trail


def _receiver(trail: Trail, add: Callable[..., None]) -> Callable[..., None]:
    def receive(_app: object, ip: str | None = None, user_agent: str | None = None, **data: Any) -> None:
        add(trail, {"ip": ip, "user_agent": user_agent}, **data)

    return receive


def _reason(error: Any) -> dict[str, Any]:
    # Only the error code: the text of an application's own exception can contain anything.
    return {"reason": getattr(error, "error_code", type(error).__name__)}


Where = dict[str, Any]


def _code_sent(trail: Trail, where: Where, *, identifier: str, **_more: Any) -> None:
    trail.add("code_sent", identifier=identifier, **where)


def _code_failed(trail: Trail, where: Where, *, stage: str, identifier: str, error: Any, **_more: Any) -> None:
    # A rate limit has its own event, once in its window.
    if not isinstance(error, RateLimited):
        detail = {"stage": stage, **_reason(error)}
        trail.add_refusal("code_refused", outcome="refused", identifier=identifier, detail=detail, **where)


def _signed_in(trail: Trail, where: Where, *, user: Any, method: str, **_more: Any) -> None:
    if method == "application":  # any other sign-in is written in the same transaction as its session
        trail.add("sign_in", user_id=user.id, identifier=user.email, method=method, **where)


def _sign_in_failed(
    trail: Trail, where: Where, *, identifier: str | None, user_id: str | None, error: Any, **_more: Any
) -> None:
    outcome = "refused" if isinstance(error, (SignInDenied, SignUpDisabled)) else "failed"
    about = {"identifier": identifier, "user_id": user_id, "detail": _reason(error)}
    trail.add_refusal("sign_in_failed", outcome=outcome, **about, **where)


def _sessions_ended(trail: Trail, where: Where, *, user_id: str, reason: str, **_more: Any) -> None:
    trail.add("sessions_ended", user_id=user_id, detail={"reason": reason}, **where)


def _passkey_removed(trail: Trail, where: Where, *, passkey: Any, **_more: Any) -> None:
    trail.add("passkey_removed", user_id=passkey.user_id, **where)


def _passkey_refused(trail: Trail, where: Where, *, error: Any, user_id: str | None = None, **_more: Any) -> None:
    trail.add_refusal("passkey_refused", outcome="refused", user_id=user_id, detail=_reason(error), **where)


def _email_changed(trail: Trail, where: Where, *, user: Any, before: str, **_more: Any) -> None:
    trail.add("email_changed", user_id=user.id, identifier=user.email, detail={"before": mask(before)}, **where)


def _user_updated(trail: Trail, where: Where, *, user: Any, fields: list[str], **_more: Any) -> None:
    trail.add("user_updated", user_id=user.id, identifier=user.email, detail={"fields": fields}, **where)


def _user_deleted(trail: Trail, where: Where, *, user_id: str, user: Any = None, **_more: Any) -> None:
    trail.add("user_deleted", user_id=user_id, identifier=user.email if user else None, **where)


def _limit_reached(trail: Trail, where: Where, *, limit: str, identifier: str, **_more: Any) -> None:
    trail.add("limit_reached", outcome="refused", identifier=identifier, detail={"limit": limit}, **where)


def _notice(event: str, outcome: str) -> Callable[..., None]:
    def add(trail: Trail, where: Where, *, kind: str, user: Any, **_more: Any) -> None:
        detail = {"notice": kind}
        trail.add(event, outcome=outcome, user_id=user.id, identifier=user.email, detail=detail, **where)

    return add


def _about_a_user(event: str) -> Callable[..., None]:
    def add(trail: Trail, where: Where, *, user: Any, **_more: Any) -> None:
        trail.add(event, user_id=user.id, identifier=user.email, **where)

    return add


_ADDED: dict[str, Callable[..., None]] = {
    "code_sent": _code_sent,
    "code_failed": _code_failed,
    "user_signed_in": _signed_in,
    "sign_in_failed": _sign_in_failed,
    "user_signed_out": _about_a_user("sign_out"),
    "session_ended": _sessions_ended,
    "passkey_added": _about_a_user("passkey_added"),
    "passkey_removed": _passkey_removed,
    "passkey_refused": _passkey_refused,
    "app_session_added": _about_a_user("app_session_added"),
    "link_used": _about_a_user("link_used"),
    "email_changed": _email_changed,
    "user_created": _about_a_user("user_created"),
    "user_updated": _user_updated,
    "user_deleted": _user_deleted,
    "limit_reached": _limit_reached,
    "notice_sent": _notice("notice_sent", "ok"),
    "notice_failed": _notice("notice_failed", "failed"),
}
"""What each signal adds, by its name in :mod:`~flask_chatbotkit_auth.signals`."""
