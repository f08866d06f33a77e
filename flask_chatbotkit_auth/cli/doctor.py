"""The doctor: what an application's sign-in needs in production, looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import requests
from flask import current_app

from ..config import unknown_keys
from ..exceptions import APIError, MailError, NotAuthenticated, NotAuthorized, StoreError
from ..state import current_auth
from ..stores import MemoryStore

MAX_SKEW = timedelta(seconds=60)
"""How far this machine's clock may be from the API's."""

MAX_CODE_LIFETIME = timedelta(minutes=10)
"""How long a code may be good for (OWASP ASVS 5.0, 6.5.5)."""

MIN_SECRET_KEY = 16
"""Characters that a ``SECRET_KEY`` has when it was made at random."""

State = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """What one look has shown. A warning is worth a thought; with a failure people cannot sign in as they should."""

    name: str
    state: State
    text: str


def examine() -> Iterator[Finding]:
    """Yield what each look at the current application shows."""
    for name, look in _LOOKS.items():
        state, text = look()
        yield Finding(name, state, " ".join(text.split()))


def _configuration() -> tuple[State, str]:
    config = current_auth.config
    key = current_app.secret_key
    if not key:
        return "failure", "SECRET_KEY is not set. Make one with: python -c 'import secrets; print(secrets.token_hex())'"
    hints = unknown_keys(current_app.config)
    if len(key) < MIN_SECRET_KEY:
        hints.append("SECRET_KEY is short enough to be guessed; make one at random.")
    if current_auth.provider.lifetime > MAX_CODE_LIFETIME:
        hints.append("Codes are good for longer than 10 minutes; lower CHATBOTKIT_AUTH_CODE_LIFETIME.")
    if off := [name for name, rate in config.rate_limits.items() if rate is None]:
        hints.append(f"CHATBOTKIT_AUTH_RATE_LIMITS switches {', '.join(off)} off.")
    if hints:
        return "warning", " ".join(hints)
    adapter = current_auth.adapter
    switches = {"create": adapter.auto_create, "update": adapter.auto_update, "delete": adapter.auto_delete}
    return "ok", f"users are {_kinds()}; " + ", ".join(f"auto {name} {_on(on)}" for name, on in switches.items())


def _api() -> tuple[State, str]:
    client = current_auth.optional_client
    if client is None:
        return "ok", "not used: the application brings an adapter of its own"
    try:
        client.get("/user/list" if current_auth.kind == "partner" else "/contact/list", {"take": 1})
    except NotAuthenticated:
        return "failure", f"{client.url} refuses CHATBOTKIT_API_SECRET. Copy it from the ChatBotKit dashboard again."
    except NotAuthorized:
        return "failure", f"CHATBOTKIT_API_SECRET may not list {_kinds()}. Use a secret of the top-level account."
    except APIError as error:
        return "failure", f"{error}. Check CHATBOTKIT_API_URL and that this machine may reach it."
    return "ok", f"{client.url} answers and takes the secret"


def _clock() -> tuple[State, str]:
    client = current_auth.optional_client
    if client is None:
        return "ok", "not compared: the application brings an adapter of its own"
    before = datetime.now(UTC)  # the machine's, and no other
    try:
        with requests.get(
            client.url, timeout=current_auth.config.api_timeout, allow_redirects=False, stream=True
        ) as response:
            theirs = _date(response.headers.get("Date"))
    except requests.RequestException:
        return "warning", "not compared: the API cannot be reached"
    if theirs is None:
        return "warning", "not compared: the API does not say what time it is"
    after = datetime.now(UTC)
    # The header names whole seconds, and was written at some time in between.
    ahead = max(before - theirs - timedelta(seconds=1), timedelta(0))
    behind = max(theirs - after, timedelta(0))
    skew = max(ahead, behind)
    if skew > MAX_SKEW:
        direction = "ahead of" if ahead else "behind"
        return "failure", f"this machine is {round(skew.total_seconds())} seconds {direction} the API; set it by NTP"
    return "ok", "this machine and the API agree on the time"


def _store() -> tuple[State, str]:
    try:
        current_auth.store.ping()
    except StoreError as error:
        return "failure", str(error)
    if not current_auth.limiter.check():
        return "failure", "attempts cannot be counted; check CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI"
    if isinstance(current_auth.store, MemoryStore):
        return "warning", "kept in the memory of one process: use a database or Redis in production"
    return "ok", f"{type(current_auth.store).__name__} answers"


def _mail() -> tuple[State, str]:
    if current_auth.hooks.send_verification_request:
        return "ok", "codes are sent by the application itself"
    mail: Any = current_app.extensions["mail"]
    if mail.suppress:
        return "warning", "MAIL_SUPPRESS_SEND (or TESTING) is on: no mail leaves this application"
    if current_app.debug and "MAIL_SERVER" not in current_app.config:
        return "warning", "no MAIL_SERVER: codes are printed to the console while in debug mode"
    try:
        current_auth.mailer.check()
    except MailError as error:
        return "failure", str(error)
    if not (current_auth.config.mail_sender or mail.default_sender):
        return "warning", "mails have no sender of your own; set CHATBOTKIT_AUTH_MAIL_SENDER"
    return "ok", f"{mail.server} takes mail"


def _cookies() -> tuple[State, str]:
    hints = []
    for cookie in ("SESSION_COOKIE", "REMEMBER_COOKIE"):
        if not current_app.config.get(f"{cookie}_SECURE") and not current_app.debug:
            hints.append(f"{cookie}_SECURE is off; set it to True where the site is served over HTTPS.")
        if not current_app.config.get(f"{cookie}_HTTPONLY"):
            hints.append(f"{cookie}_HTTPONLY is off; scripts can read who is signed in.")
        if str(current_app.config.get(f"{cookie}_SAMESITE")).lower() not in ("lax", "strict"):
            hints.append(f'{cookie}_SAMESITE is not "Lax"; other sites can act for a signed-in person.')
    return ("warning", " ".join(hints)) if hints else ("ok", "their flags are as they should be")


def _user_loader() -> tuple[State, str]:
    manager = getattr(current_app, "login_manager", None)
    if getattr(getattr(manager, "_user_callback", None), "knows_chatbotkit", False):
        return "ok", "Flask-Login asks us who is signed in"
    return "failure", (
        "another user_loader was registered after init_app, so nobody stays signed in. Register yours before it, or return "
        "your users from @auth.user_callback."
    )


_LOOKS: dict[str, Callable[[], tuple[State, str]]] = {
    "configuration": _configuration,
    "api": _api,
    "clock": _clock,
    "store": _store,
    "mail": _mail,
    "cookies": _cookies,
    "user_loader": _user_loader,
}


def _kinds() -> str:
    return "sub-accounts" if current_auth.kind == "partner" else "contacts"


def _on(switch: bool) -> str:
    return "on" if switch else "off"


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else None
