"""Sign-in of an app, which has no cookies: a signed token holds its challenge, and another token its session.

The steps are the same as in a browser.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import current_app, request
from itsdangerous import BadData, URLSafeSerializer

from ..device import device_name
from ..keys import secret_keys
from ..languages import current_language
from ..login import held_session
from ..proxies import running_app
from ..sessions import shown
from ..signals import app_session_added, emit, user_signed_out
from ..state import current_auth, current_state
from ..stores.base import SessionRecord
from . import challenges, sign_in
from .pending import Pending

_MAX_TOKEN = 1024


class App:
    """The app of this request. It holds its challenge with a signed token, which it sends.

    :param sent: returns the token in the request, or ``""``.
    """

    def __init__(self, sent: Callable[[], str]) -> None:
        self._sent = sent
        self._entry: Mapping[str, Any] | None = None
        self.name: str | None = None
        """The name that the app gives itself in this request, or ``None``."""

        self.changed: bool = False
        """Whether the app needs the new token."""

    def read(self) -> Mapping[str, Any]:
        if self._entry is None:
            self._entry = _read(self._sent())
        return self._entry

    def write(self, entry: Mapping[str, Any]) -> None:
        name = self.name or self.read().get("name")
        self._entry = {**entry, "name": name} if entry and name else entry
        self.changed = True

    def renew(self) -> None:
        """Do nothing: the earlier token does not prove that the code was typed, so it is useless."""

    @property
    def token(self) -> str | None:
        """The token that the app must keep now."""
        entry = self.read()
        return str(_serializer().dumps(dict(entry))) if entry else None


def sign_in_by_code(typed: str, holder: App) -> tuple[str, SessionRecord]:
    """Sign this app in with a code. Return its token, which only the app receives, and the row of its session.

    As in a browser, a right code is not needed again while the API fails: then ``holder`` has a token that says so. The
    person gets a notice by email.

    :raises ChatBotKitAuthError: as :func:`~flask_chatbotkit_auth.flows.sign_in.sign_in_by_code`.
    """
    auth = current_state()
    challenge = Pending("sign_in", holder=holder).prove(typed)
    with challenges.refusals_told("verify", challenge.identifier):
        user, created, _ = sign_in.admit(challenge)
        token, record = auth.registry.open(
            challenge, user, client="app", name=holder.read().get("name"), event=auth.sign_in_event
        )
    auth.registry.confirm(record)
    sign_in.tell(record, created=created)
    emit(app_session_added, running_app(), user=user, session_id=record.id, name=record.name)
    device = device_name(request.user_agent.string, current_language())
    auth.notices.send("app_session_added", user, to=challenge.identifier, device=device, name=record.name)
    return token, replace(record, user=shown(record))


def sign_out() -> bool:
    """End the session of this request's app. Return whether there was one.

    :raises StoreError: it could not be ended.
    """
    record = held_session()
    if record is None or not current_auth.registry.end(record.id):
        return False
    emit(user_signed_out, running_app(), user=record.user)
    return True


def _read(token: str) -> Mapping[str, Any]:
    if not token or len(token) > _MAX_TOKEN or not token.isascii():
        return {}
    try:
        entry = _serializer().loads(token)
    except BadData:
        return {}
    return entry if isinstance(entry, dict) else {}


def _serializer() -> URLSafeSerializer:
    # itsdangerous signs with the last key, so the current one comes last.
    return URLSafeSerializer(
        [_bytes(key) for key in reversed(secret_keys(current_app.config))],
        salt=f"flask-chatbotkit-auth: challenge of an app, version 1, {current_auth.audience}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key
