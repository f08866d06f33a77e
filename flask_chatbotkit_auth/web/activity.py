"""Recent activity of the account, as a page and as JSON. Registered only if ``CHATBOTKIT_AUTH_EVENTS`` is on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from flask import Flask, jsonify, request
from werkzeug.wrappers import Response as AnyResponse

from ..device import translated
from ..events import Trail
from ..languages import N_, current_language
from ..languages import gettext as _
from ..state import current_auth
from ..stores.base import SessionRecord
from ..stores.events import Event
from .account import own
from .blueprint import HOST, page
from .flash import take
from .forms import wants_json

SHOWN = {
    "sign_in": N_("Signed in"),
    "sign_out": N_("Signed out"),
    "sessions_ended": N_("Signed out on other devices"),
    "passkey_added": N_("Passkey added"),
    "passkey_removed": N_("Passkey removed"),
    "app_session_added": N_("App signed in"),
    "email_changed": N_("Email address changed"),
    "user_created": N_("Account created"),
    "user_updated": N_("Profile changed"),
}
"""The kinds of events that the owner sees, each with a short description."""

_EACH = 20
_READ = 100


def register(app: Flask, prefix: str) -> None:
    """Add the endpoint to an application."""
    host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
    app.add_url_rule(f"{prefix}/account/activity", "chatbotkit_auth.account_activity", show, methods=["GET"], **host)


@own
def show(record: SessionRecord) -> AnyResponse:
    events = _recent(record)
    if wants_json():
        return jsonify(activity=[_event_json(each) for each in events])
    return page(
        "account_activity",
        take(),
        activity=[(each, _(SHOWN[each.kind])) for each in events],
        now=current_auth.clock(),
    )


def _recent(record: SessionRecord) -> list[Event]:
    """Return the newest events of this person that are shown to them, with devices in their language."""
    before = request.args.get("before", "")
    if not re.fullmatch("[0-9]{13}[0-9a-f]{16}", before):
        before = ""
    trail: Trail = current_auth.trail  # type: ignore[assignment]  # this is registered only where there is one
    events = trail.of_person(record.user.id, before=before or None, limit=_READ)
    shown = [each for each in events if each.kind in SHOWN and not _is_double(each)][:_EACH]
    language = current_language()
    return [replace(each, device=translated(each.device, language)) if each.device else each for each in shown]


def _is_double(event: Event) -> bool:
    """Return whether another event describes the same more clearly."""
    return (event.kind == "user_updated" and event.detail.get("fields") == ["email"]) or (
        event.kind == "sessions_ended" and event.detail.get("reason") != "ended"
    )


def _event_json(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "device": event.device,
        "ip": event.ip,
        "method": event.method,
    }
