"""Passkeys: signing in with one, and creating, renaming and removing them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from flask import current_app, request, session
from flask_wtf.csrf import generate_csrf

from .. import passkeys
from ..device import device_name
from ..exceptions import (
    ChatBotKitAuthError,
    InvalidPasskey,
    NotFresh,
    PasskeyExpired,
    SignInDenied,
    TooManyPasskeys,
    UnknownPasskey,
)
from ..keys import is_digest, secret_keys
from ..languages import current_language
from ..languages import gettext as _
from ..login import enter
from ..passkeys import MAX_PASSKEYS, Challenge, Challenges, RelyingParty
from ..proxies import running_app
from ..signals import emit, passkey_added, passkey_refused, passkey_removed, sign_in_failed, user_signed_in
from ..state import current_auth, current_state
from ..stores.base import SessionRecord
from ..stores.passkeys import Added, Passkey, PasskeyStore, Used
from ..user import User
from .arrival import arrived
from .counting import telling_limits

_log = logging.getLogger("flask_chatbotkit_auth")

FRESH = timedelta(minutes=10)
"""How old the proof of the address can be to add or remove a passkey."""


KEPT_AFTER_ACCOUNT = timedelta(days=30)
"""How long passkeys are kept after the API stops knowing their account, since the cause may be a wrong secret."""


def sign_in_options() -> dict[str, Any]:
    """Return new options for ``navigator.credentials.get``. They are not stored."""
    return passkeys.request_options(_party(), _new("get"))


def sign_in(credential: object, *, remember: bool = True) -> User:
    """Sign this browser in with its answer to :func:`sign_in_options`.

    After an outage of the API, the same answer can be sent again until its challenge expires.

    :param remember: whether the browser stays signed in after it is closed.
    :raises RateLimited: there were too many answers from this client.
    :raises InvalidPasskey: the answer is invalid, or its challenge has expired or was used before.
    :raises UnknownPasskey: no account has this passkey.
    :raises SignInDenied: the application refused.
    :raises APIError: the account could not be fetched.
    """
    auth = current_state()
    with telling_limits():
        auth.limiter.hit_client("passkey:ip", request.remote_addr)
    with _refusals_told():
        challenge = _check(credential, "get")
        passkey = _store().get_passkey(passkeys.passkey_id(passkeys.named_credential(credential)))
        if passkey is None:
            raise UnknownPasskey
        passkeys.check_user_handle(credential, passkey.user_id)
        assertion = passkeys.verify_assertion(_party(), credential, challenge, passkey)
    # The account is fetched before the challenge is used, so that the answer stays valid after an outage.
    identifier = None
    try:
        user = _fetch(passkey)
        identifier = user.email
        user, entering = _admit(user)
    except ChatBotKitAuthError as error:
        _tell_failure(passkey, identifier, error)
        raise
    token, record = auth.registry.draft(user, identifier=user.email, method="passkey")
    event = auth.sign_in_event(record)
    # A store that was written for an earlier release knows no event.
    told: dict[str, Any] = {} if event is None else {"event": event}
    used = _store().use_passkey(
        passkey.id,
        record,
        sign_count=assertion.sign_count,
        backed_up=assertion.backed_up,
        nonce=challenge.nonce,
        nonce_until=challenge.expires_at,
        now=auth.clock(),
        **told,
    )
    if used is Used.GONE:
        denied = SignInDenied()
        _tell_failure(passkey, identifier, denied)
        raise denied
    with _refusals_told(user.id):
        _require_used(used)
    auth.registry.opened(record)
    enter(auth, entering, token, record, remember=remember)
    _log.info("signed in: user %s, by a passkey", user.id)
    emit(user_signed_in, running_app(), user=user, created=False, method="passkey")
    arrived(user.email, user, created=False)
    return user


def creation_options(record: SessionRecord, *, offer: bool = False) -> dict[str, Any]:
    """Return options for ``navigator.credentials.create``, for the person who is signed in.

    :param offer: whether this is the offer after a sign-in, which is only about this device.
    :raises NotFresh: the address was proved too long ago.
    :raises TooManyPasskeys: the person has the maximum number.
    """
    require_fresh(record)
    existing = of(record.user)
    if len(existing) >= MAX_PASSKEYS:
        raise TooManyPasskeys
    return passkeys.creation_options(_party(), record.user, _new("create", record.user.id), existing, offer=offer)


def add(record: SessionRecord, credential: object, name: str = "") -> Passkey:
    """Add the passkey that a browser has created for :func:`creation_options`, and send its owner a notice.

    :param name: the name of the passkey; by default that of this browser and system.
    :raises NotFresh: the address was proved too long ago, or the session has ended meanwhile.
    :raises InvalidPasskey: the answer is invalid, or its challenge has expired or was used before.
    :raises TooManyPasskeys: the person has the maximum number.
    """
    auth, user = current_state(), record.user
    _require_living(record)
    with _refusals_told(user.id):
        challenge = _check(credential, "create", user.id)
        passkey = passkeys.verify_creation(
            _party(), credential, challenge, user_id=user.id, name=name or _here(), now=auth.clock()
        )
        added = _store().add_passkey(
            passkey,
            nonce=challenge.nonce,
            nonce_until=challenge.expires_at,
            now=auth.clock(),
            limit=MAX_PASSKEYS,
        )
        if added is Added.REPLAYED:
            raise PasskeyExpired
        if added is Added.TAKEN:
            raise InvalidPasskey("this passkey is known already")
        if added is Added.FULL:
            raise TooManyPasskeys
    _log.info("passkey added: user %s", user.id)
    emit(passkey_added, running_app(), user=user, passkey=passkey)
    auth.notices.send("passkey_added", user, device=_here(), name=passkey.name)
    return passkey


def rename(user: User, id: str, name: str) -> Passkey | None:
    """Rename a passkey of this person. Return it, or ``None`` if they do not have it."""
    if not is_digest(id) or not _store().rename_passkey(id, name, user_id=user.id):
        return None
    return _store().get_passkey(id)


def remove(record: SessionRecord, id: str) -> bool:
    """Remove a passkey of the signed-in person, and send them a notice. Return whether they had it.

    :raises NotFresh: as :func:`add`.
    """
    user = record.user
    _require_living(record)
    passkey = _store().get_passkey(id) if is_digest(id) else None
    if passkey is None or not _store().remove_passkey(id, user_id=user.id):
        return False
    _log.info("passkey removed: user %s", user.id)
    emit(passkey_removed, running_app(), user=user, passkey=passkey)
    current_auth.notices.send("passkey_removed", user, device=_here(), name=passkey.name)
    return True


def of(user: User) -> list[Passkey]:
    """Return the passkeys of a person, the oldest first."""
    return _store().list_passkeys(user.id)


def accepted(user: User) -> dict[str, Any]:
    """Return the data with which a device forgets removed passkeys (``signalAllAcceptedCredentials``)."""
    return {
        "rpId": _party().id,
        "userId": passkeys.to_base64url(passkeys.user_handle(user.id)),
        "allAcceptedCredentialIds": [each.credential_id for each in of(user)],
    }


def forget(_app: object, *, user_id: str, reason: str, **_more: object) -> None:
    """Remove every passkey of an account that was deleted here. A receiver of ``user_deleted``.

    If the API just does not know the account, the cause may be a wrong secret. Then :func:`purge` removes them in time.
    """
    if reason == "gone":
        _store().mark_passkeys(user_id, gone_at=current_auth.clock())
    else:
        _store().remove_passkeys(user_id)


def purge() -> int:
    """Remove the passkeys of accounts that have not existed for thirty days, after asking the API again. Return how many.

    :raises APIError: the API could not be reached.
    """
    auth, removed = current_state(), 0
    for user_id in _store().gone_passkeys(before=auth.clock() - KEPT_AFTER_ACCOUNT):
        if auth.adapter.get(user_id) is None:
            removed += _store().remove_passkeys(user_id)
        else:
            _store().mark_passkeys(user_id, gone_at=None)
    return removed


def _fetch(passkey: Passkey) -> User:
    """Return the current account of a passkey.

    :raises UnknownPasskey: it does not exist. The passkey is kept, since the cause may be a wrong secret.
    """
    user = current_auth.adapter.get(passkey.user_id)
    if user is None:
        _store().mark_passkeys(passkey.user_id, gone_at=current_auth.clock())
        raise UnknownPasskey
    if passkey.gone_at is not None and user.is_active:
        _store().mark_passkeys(passkey.user_id, gone_at=None)
    return user


def _admit(user: User) -> tuple[User, Any]:
    """Return the user after your ``provision`` hook has returned for them, and the future ``current_user``.

    :raises SignInDenied: the application refused, or the person is suspended.
    """
    auth = current_state()
    auth.approve(user.email, user)
    user = auth.prepared(user)
    entering = auth.present(user)
    if entering is None:
        raise SignInDenied
    return user, entering


def _tell_failure(passkey: Passkey, identifier: str | None, error: ChatBotKitAuthError) -> None:
    _log.info("sign-in of user %s by a passkey failed: %s", passkey.user_id, error)
    emit(sign_in_failed, running_app(), identifier=identifier, user_id=passkey.user_id, error=error)


def _require_used(outcome: Used) -> None:
    if outcome is Used.REPLAYED:
        raise PasskeyExpired
    if outcome is Used.CLONED:
        raise InvalidPasskey("the counter of this passkey did not go up: there may be a copy of it")
    if outcome is Used.MISSING:
        raise UnknownPasskey


def require_fresh(record: SessionRecord) -> None:
    """Raise unless the proof of the address is fresh enough to add or remove a passkey.

    :raises NotFresh: it is too old.
    """
    current_auth.require_fresh(record, max_age=min(FRESH, current_auth.config.fresh))


def _require_living(record: SessionRecord) -> None:
    """Raise unless the proof is fresh enough, and the session has not ended. A passkey would outlive it.

    :raises NotFresh: the proof is too old, or the session has ended, or the person is suspended.
    """
    require_fresh(record)
    auth = current_state()
    # This worker may have read the row before another one ended the session.
    found = auth.store.get_session(record.id, now=auth.clock())
    if found is None or not found.user.is_active:
        raise NotFresh


@contextmanager
def _refusals_told(user_id: str | None = None) -> Iterator[None]:
    """Log and signal each refusal that is raised inside."""
    try:
        yield
    except (InvalidPasskey, TooManyPasskeys) as error:
        _log.info("passkey refused: %s", error)
        emit(passkey_refused, running_app(), user_id=user_id, error=error)
        raise


def _check(credential: object, purpose: str, user_id: str = "") -> Challenge:
    return _challenges().check(
        passkeys.named_challenge(credential),
        purpose=purpose,
        browser=_browser(),
        now=current_auth.clock(),
        user_id=user_id,
    )


def _new(purpose: str, user_id: str = "") -> Challenge:
    return _challenges().new(purpose=purpose, browser=_browser(), now=current_auth.clock(), user_id=user_id)


def _challenges() -> Challenges:
    return Challenges(lambda: secret_keys(current_app.config))


def _browser() -> str:
    """Return Flask-WTF's secret in this browser's session. It is created if there is none."""
    generate_csrf()
    return str(session[current_app.config["WTF_CSRF_FIELD_NAME"]])


def host() -> str:
    """Return the host that passkeys belong to: they work there and on the hosts below it."""
    return _party().id


def _party() -> RelyingParty:
    auth = current_state()
    origin = str(auth.config.origin)
    id = auth.config.passkey_rp_id or urlsplit(origin).hostname or ""
    return RelyingParty(id, auth.mailer.site_name, (origin, *auth.config.passkey_origins))


def _store() -> PasskeyStore:
    return cast(PasskeyStore, current_auth.store)  # checked in init_app


def _here() -> str:
    return device_name(request.user_agent.string, current_language()) or _("This device")
