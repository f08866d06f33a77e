"""Passkeys: pages and JSON. Registered only if ``CHATBOTKIT_AUTH_PASSKEYS`` is on."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, current_app, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import ConfigurationError, NotFresh
from ..flows import passkeys as flow
from ..languages import gettext as _
from ..login import current_session
from ..passkeys import MAX_PASSKEYS, provider_of
from ..profile import clean_label
from ..signals import user_deleted
from ..state import current_auth
from ..stores.base import SessionRecord, Store
from ..stores.passkeys import Passkey, PasskeyStore
from .account import own
from .blueprint import HOST, after_sign_in, page
from .errors import done, failed
from .forms import field, remembered, text, wants_json
from .redirects import safe_next
from .sign_in import new_token

LATER = "chatbotkit_auth_passkey_later"
"""The cookie of a browser in which somebody has declined a passkey. It contains nothing about a person."""


def register(app: Flask, prefix: str, store: Store) -> None:
    """Add the endpoints to an application.

    :raises ConfigurationError: the application's store does not keep passkeys.
    """
    if not isinstance(store, PasskeyStore):
        raise ConfigurationError(
            f"CHATBOTKIT_AUTH_PASSKEYS: {type(store).__name__} does not keep passkeys. Make it a PasskeyStore as well, or "
            "use a store of ours."
        )
    user_deleted.connect(flow.forget, app)
    host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
    for method, path, name, view in (
        ("POST", "/passkey/options", "passkey_options", options),
        ("POST", "/passkey", "passkey", sign_in),
        ("GET", "/passkey/offer", "passkey_offer", offer),
        ("POST", "/account/passkeys/options", "account_passkey_options", creation_options),
        ("POST", "/account/passkeys", "account_passkey_add", add),
        ("POST", "/account/passkeys/<passkey_id>/name", "account_passkey_rename", rename),
        ("POST", "/account/passkeys/<passkey_id>/remove", "account_passkey_remove", remove),
    ):
        app.add_url_rule(f"{prefix}{path}", f"chatbotkit_auth.{name}", view, methods=[method], **host)
    app.add_url_rule("/.well-known/passkey-endpoints", "chatbotkit_auth.passkey_endpoints", endpoints, **host)


def options() -> Response:
    return jsonify(publicKey=flow.sign_in_options())


def options_json() -> str:
    """Return the options of a sign-in, to embed in the page, which saves a request of its script."""
    return json.dumps(flow.sign_in_options())


def sign_in() -> AnyResponse:
    next = safe_next()
    user = flow.sign_in(field("credential"), remember=remembered() is not False)
    return jsonify(user=user.public(), redirect=next or after_sign_in(), csrf_token=new_token())


def offer() -> AnyResponse:
    """Offer a passkey once, after a sign-in with a code, to a person who has none."""
    target = safe_next() or after_sign_in()
    record = current_session()
    if record is None or not worth_offering(record):
        return redirect(target)
    return page("passkey_offer", next_url=target, later=_later_cookie())


def after_code(target: str) -> str:
    """Return the URL after a sign-in with a code, on a device that can create a passkey."""
    record = current_session()
    if record is None or not worth_offering(record):
        return target
    return url_for("chatbotkit_auth.passkey_offer", next=target)


def may_be_offered() -> bool:
    """Return whether this browser can be offered a passkey."""
    return current_auth.config.passkey_offer and LATER not in request.cookies


def host_of_offer() -> str:
    """Return the host that a passkey would belong to if this browser can be offered one, else ``""``."""
    return flow.host() if may_be_offered() else ""


def worth_offering(record: SessionRecord) -> bool:
    """Return whether to offer this person a passkey in this browser."""
    if not may_be_offered() or flow.of(record.user):
        return False
    try:
        flow.require_fresh(record)
    except NotFresh:
        return False
    return True


@own
def creation_options(record: SessionRecord) -> Response:
    return jsonify(publicKey=flow.creation_options(record, offer=field("offer") is True))


@own
def add(record: SessionRecord) -> Response:
    passkey = flow.add(record, field("credential"), clean_label(text("name")))
    return jsonify(passkey=passkey_json(passkey))


@own
def rename(record: SessionRecord, passkey_id: str) -> AnyResponse:
    name = clean_label(text("name"))
    if not name:
        sentence = _("Enter a name for this passkey.")
        return failed(400, "invalid_profile", sentence, errors={"name": sentence}, fields={"name": sentence})
    passkey = flow.rename(record.user, passkey_id, name)
    if passkey is None:
        return _unknown()
    return jsonify(passkey=passkey_json(passkey)) if wants_json() else done(_("The passkey has a new name."))


@own
def remove(record: SessionRecord, passkey_id: str) -> AnyResponse:
    if not flow.remove(record, passkey_id):
        return _unknown()
    if wants_json():
        return jsonify(removed=1, accepted=flow.accepted(record.user))
    return done(_("The passkey was removed."))


def endpoints() -> Response:
    """Answer the URLs at which password managers can create and manage passkeys (W3C passkey endpoints)."""
    origin = str(current_auth.config.origin)
    account = origin + url_for("chatbotkit_auth.account") + "#passkeys"
    return jsonify(enroll=account, manage=account)


def on_account_page(record: SessionRecord) -> dict[str, Any]:
    """Return the passkeys for the account page."""
    own_passkeys = flow.of(record.user)
    return {
        "passkeys": [
            {**passkey_json(each), "created_at": each.created_at, "used_at": each.used_at} for each in own_passkeys
        ],
        "passkeys_full": len(own_passkeys) >= MAX_PASSKEYS,
        "passkeys_accepted": flow.accepted(record.user),
    }


def own_json(record: SessionRecord) -> list[dict[str, Any]]:
    """Return the person's passkeys for the account's JSON."""
    return [passkey_json(each) for each in flow.of(record.user)]


def passkey_json(passkey: Passkey) -> dict[str, Any]:
    """Return ``{"id", "name", "provider", "synced", "created_at", "used_at"}``."""
    return {
        "id": passkey.id,
        "name": passkey.name,
        "provider": provider_of(passkey.aaguid),
        "synced": passkey.synced,
        "created_at": passkey.created_at.isoformat(),
        "used_at": passkey.used_at.isoformat() if passkey.used_at else None,
    }


def _unknown() -> AnyResponse:
    return failed(404, "unknown_passkey", _("You have no such passkey, or not any more."))


def _later_cookie() -> str:
    path = current_app.config["APPLICATION_ROOT"]
    secure = "; Secure" if request.is_secure else ""
    return f"{LATER}=1; Path={path}; Max-Age={30 * 24 * 60 * 60}; SameSite=Lax{secure}"
