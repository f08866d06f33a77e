"""Known devices: browsers that have proved an address before. A signed cookie marks them.

A stranger can use up the rate limits of somebody's address. Known devices have their own limits, so that the owner can
still sign in. The cookie remains after a sign-out. It signs nobody in, and does not reveal the addresses that it is about.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from flask import Response, after_this_request
from itsdangerous import BadData, Serializer, URLSafeSerializer, base64_encode

from .keys import keyed_digest, secret_keys
from .proxies import running_app, this_request

MAX_ADDRESSES = 5
"""The most addresses that one browser is known for. A further one replaces the oldest."""

_MAX_LENGTH = 2048
_NAME = "chatbotkit_auth_device"
_HOST_ONLY = f"__Host-{_NAME}"


@dataclass(frozen=True)
class _Proof:
    """An address that was proved in this browser: a nonce, the HMAC of nonce and address, and the time in seconds."""

    nonce: str
    digest: str
    at: int


def known_device(identifier: str, *, lifetime: timedelta, now: datetime) -> str | None:
    """Return the nonce that this browser got when it last proved ``identifier``, or ``None`` if it is not known for it."""
    return next((each.nonce for each in _proofs(lifetime, now) if _is_about(each, identifier)), None)


def remember_device(identifier: str, *, lifetime: timedelta, now: datetime) -> None:
    """Set the cookie that makes this browser known for ``identifier``, which it has just proved.

    The nonce is new each time, so that a cookie that somebody else planted gains nothing.
    """
    if not lifetime:
        return
    nonce = secrets.token_urlsafe(12)
    kept = [each for each in _proofs(lifetime, now) if not _is_about(each, identifier)]
    new = _Proof(nonce, _digest(secret_keys(running_app().config)[0], nonce, identifier), int(now.timestamp()))
    _write([*kept, new][-MAX_ADDRESSES:], lifetime)


def forget_device() -> None:
    """Delete the cookie, so that the browser is not known for any address."""
    name, options = _cookie()

    @after_this_request
    def delete(response: Response) -> Response:
        response.delete_cookie(name, **options)
        return response


def _proofs(lifetime: timedelta, now: datetime) -> list[_Proof]:
    cookies = this_request().cookies
    if not lifetime or (_NAME not in cookies and _HOST_ONLY not in cookies):
        return []
    value = cookies.get(_cookie()[0])
    # Werkzeug decodes any bytes. A cookie that is not ASCII was not signed by us.
    if not value or len(value) > _MAX_LENGTH or not value.isascii():
        return []
    try:
        rows = _serializer().loads(value)
        proofs = [_Proof(str(nonce), str(digest), int(at)) for nonce, digest, at in rows]
    except (BadData, TypeError, ValueError):
        return []
    return [each for each in proofs if each.at + lifetime.total_seconds() > now.timestamp()]


def _is_about(proof: _Proof, identifier: str) -> bool:
    keys = secret_keys(running_app().config)
    return any(hmac.compare_digest(proof.digest, _digest(key, proof.nonce, identifier)) for key in keys)


def _digest(secret_key: str | bytes, nonce: str, identifier: str) -> str:
    return keyed_digest(secret_key, "device addresses", nonce, identifier)[:32]


class _Brief(URLSafeSerializer):
    """Writes what its base reads. One proof does not get shorter by compression, which takes longer than signing it."""

    def dump_payload(self, obj: Any) -> bytes:
        text = Serializer.dump_payload(self, obj)
        return base64_encode(text) if len(text) < 100 else super().dump_payload(obj)


def _serializer() -> URLSafeSerializer:
    return _serializer_of(tuple(secret_keys(running_app().config)))


@lru_cache(maxsize=8)
def _serializer_of(keys: tuple[str | bytes, ...]) -> URLSafeSerializer:
    # itsdangerous signs with the last key, so the current one comes last.
    return _Brief(
        [_bytes(key) for key in reversed(keys)],
        salt="flask-chatbotkit-auth: device cookie, version 1",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _write(proofs: list[_Proof], lifetime: timedelta) -> None:
    name, options = _cookie()
    value = _serializer().dumps([[each.nonce, each.digest, each.at] for each in proofs])

    @after_this_request
    def write(response: Response) -> Response:
        response.set_cookie(name, str(value), max_age=int(lifetime.total_seconds()), **options)
        return response


def _cookie() -> tuple[str, dict[str, Any]]:
    """Return the name and attributes of the cookie. The attributes are those of the application's session cookie."""
    app = running_app()
    interface = app.session_interface
    options: dict[str, Any] = {
        "domain": interface.get_cookie_domain(app),
        "path": interface.get_cookie_path(app),
        "secure": interface.get_cookie_secure(app),
        "samesite": interface.get_cookie_samesite(app),
        "httponly": True,
    }
    if hasattr(interface, "get_cookie_partitioned"):  # Flask 3.1 and later
        options["partitioned"] = interface.get_cookie_partitioned(app)
    # A browser accepts a cookie with this prefix only from the host itself, so a sibling domain cannot plant one.
    host_only = options["secure"] and options["path"] == "/" and not options["domain"]
    return _HOST_ONLY if host_only else _NAME, options
