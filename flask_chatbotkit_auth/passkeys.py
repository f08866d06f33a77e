"""Passkeys (WebAuthn): the options that a browser is given, and what its answer proves.

Knows neither Flask nor the store. Signatures, origins and flags are checked by the ``webauthn`` library, which is imported at
the first answer and never before. Left to the store: that a challenge is used once, that a credential id exists once, and
the signature counter.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .clock import from_milliseconds, to_milliseconds
from .exceptions import InvalidPasskey, PasskeyExpired
from .keys import derive
from .stores.passkeys import Passkey
from .user import User

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
    from webauthn.registration.verify_registration_response import VerifiedRegistration

CHALLENGE_LIFETIME = timedelta(minutes=10)
"""How long a browser may take from the options to its answer."""

MAX_PASSKEYS = 20
"""Passkeys that one person may have."""

ALGORITHMS = (-7, -257, -8)
"""COSE algorithms that a passkey may sign with: ES256, RS256 and EdDSA."""

_TIMEOUT = int(CHALLENGE_LIFETIME / timedelta(milliseconds=1))
_RANDOM, _EXPIRY, _MAC = 16, 8, 32


@dataclass(frozen=True)
class RelyingParty:
    """Who a passkey is for, as browsers see it."""

    id: str
    """The domain that passkeys belong to, such as ``"example.com"``. Another one orphans every passkey."""

    name: str
    """The product's name, which the browser shows."""

    origins: tuple[str, ...]
    """The exact origins whose pages may ask for one, such as ``"https://shop.example.com"``."""


@dataclass(frozen=True)
class Challenge:
    """What the browser signs. Nothing is stored about it before an answer proves it."""

    text: str
    """The challenge as the browser gets and returns it, in base64url."""

    nonce: str
    """Its SHA-256, by which the store remembers that it is spent."""

    expires_at: datetime


class Challenges:
    """Makes challenges and recognises them: random, dated, and signed under keys derived from ``SECRET_KEY``.

    A challenge is bound to its purpose, to the person for whom a passkey is made, and to the browser that asked.

    :param keys: returns the secret keys at the time of use, the one in force first.
    """

    def __init__(self, keys: Callable[[], Sequence[str | bytes]]) -> None:
        self._keys = keys

    def new(self, *, purpose: str, browser: str, now: datetime, user_id: str = "") -> Challenge:
        """Return a new challenge.

        :param purpose: ``"create"`` or ``"get"``.
        :param browser: a secret that only this browser's own session has.
        :param user_id: the person that a passkey is made for; for ``"get"`` nobody is known yet.
        """
        expires_at = now + CHALLENGE_LIFETIME
        head = secrets.token_bytes(_RANDOM) + to_milliseconds(expires_at).to_bytes(_EXPIRY, "big")
        mac = _sign(self._keys()[0], head, purpose, browser, user_id)
        return _challenge(head + mac, expires_at)

    def check(self, text: str, *, purpose: str, browser: str, now: datetime, user_id: str = "") -> Challenge:
        """Return the challenge that a browser's answer names.

        :raises InvalidPasskey: it is not one of ours, or was made for something else, somebody else or another browser.
        :raises PasskeyExpired: it is older than :data:`CHALLENGE_LIFETIME`.
        """
        value = from_base64url(text)
        if len(value) != _RANDOM + _EXPIRY + _MAC:
            raise InvalidPasskey("the challenge has the wrong length")
        head, mac = value[:-_MAC], value[-_MAC:]
        if not any(hmac.compare_digest(mac, _sign(key, head, purpose, browser, user_id)) for key in self._keys()):
            raise InvalidPasskey("the challenge was not made here, for this browser and this purpose")
        expires_at = from_milliseconds(int.from_bytes(head[_RANDOM:], "big"))
        if expires_at <= now:
            raise PasskeyExpired
        return _challenge(value, expires_at)


@dataclass(frozen=True)
class Assertion:
    """What an answer to :func:`request_options` proves: that the passkey's owner is there."""

    sign_count: int
    backed_up: bool


def user_handle(user_id: str) -> bytes:
    """Return the 32 bytes by which a passkey names its owner: the same for ever, and telling nobody the id."""
    return hashlib.sha256(b"flask-chatbotkit-auth: passkey user handle:" + user_id.encode()).digest()


def passkey_id(credential_id: str) -> str:
    """Return the key under which the store keeps a credential: the SHA-256 of its id, in hexadecimal.

    :param credential_id: as the browser names it, in base64url.
    :raises InvalidPasskey: it is not base64url.
    """
    return hashlib.sha256(from_base64url(credential_id)).hexdigest()


def creation_options(
    party: RelyingParty, user: User, challenge: Challenge, existing: Iterable[Passkey], *, offer: bool = False
) -> dict[str, Any]:
    """Return what ``navigator.credentials.create`` is asked for, as JSON with base64url for bytes.

    :param existing: the passkeys that the person has, so that one device does not make two.
    :param offer: it is the offer after a sign-in, which is about this device only.
    """
    selection: dict[str, Any] = {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    if offer:
        selection["authenticatorAttachment"] = "platform"
    return {
        "rp": {"id": party.id, "name": party.name},
        "user": {
            "id": to_base64url(user_handle(user.id)),
            "name": user.email,
            "displayName": user.name or user.email,
        },
        "challenge": challenge.text,
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in ALGORITHMS],
        "timeout": _TIMEOUT,
        "excludeCredentials": [
            {"type": "public-key", "id": each.credential_id, "transports": list(each.transports)} for each in existing
        ],
        "authenticatorSelection": selection,
        "attestation": "none",
        "extensions": {"credProps": True},
    }


def request_options(party: RelyingParty, challenge: Challenge) -> dict[str, Any]:
    """Return what ``navigator.credentials.get`` is asked for. It names no credential, and so tells who has one to nobody."""
    return {
        "challenge": challenge.text,
        "rpId": party.id,
        "timeout": _TIMEOUT,
        "userVerification": "required",
        "allowCredentials": [],
    }


def named_challenge(credential: object) -> str:
    """Return the challenge that a browser's answer says it signed. Nothing is proved by it yet.

    :raises InvalidPasskey: the answer is not one, or came from a page inside another site's frame.
    """
    client_data = _client_data(credential)
    if client_data.get("crossOrigin") not in (None, False) or "topOrigin" in client_data:
        raise InvalidPasskey("the answer came from a page inside another site's frame")
    challenge = client_data.get("challenge")
    if not isinstance(challenge, str):
        raise InvalidPasskey("the answer names no challenge")
    return challenge


def named_credential(credential: object) -> str:
    """Return the id of the credential that a browser's answer names, in base64url.

    :raises InvalidPasskey: the answer is not one.
    """
    id = credential.get("id") if isinstance(credential, Mapping) else None
    if not isinstance(id, str) or not 0 < len(id) <= 2048:
        raise InvalidPasskey("the answer names no credential")
    return id


def check_user_handle(credential: object, user_id: str) -> None:
    """Raise unless the answer's user handle is that of ``user_id``.

    :raises InvalidPasskey: it is missing, or somebody else's.
    """
    response = credential.get("response") if isinstance(credential, Mapping) else None
    given = response.get("userHandle") if isinstance(response, Mapping) else None
    if not isinstance(given, str) or not hmac.compare_digest(from_base64url(given), user_handle(user_id)):
        raise InvalidPasskey("the answer does not name the owner of this passkey")


def verify_creation(
    party: RelyingParty, credential: object, challenge: Challenge, *, user_id: str, name: str, now: datetime
) -> Passkey:
    """Return the passkey that a browser has made, after checking its answer.

    :param name: what the person will know it by.
    :raises InvalidPasskey: anything about the answer is wrong.
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    verified: VerifiedRegistration = _verified(
        verify_registration_response,
        credential=credential,
        expected_challenge=from_base64url(challenge.text),
        expected_rp_id=party.id,
        expected_origin=list(party.origins),
        require_user_verification=True,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in ALGORITHMS],
    )
    credential_id = to_base64url(verified.credential_id)
    return Passkey(
        id=passkey_id(credential_id),
        credential_id=credential_id,
        user_id=user_id,
        public_key=to_base64url(verified.credential_public_key),
        sign_count=verified.sign_count,
        name=name,
        aaguid=verified.aaguid,
        transports=_transports(credential),
        synced=verified.credential_device_type.value == "multi_device",
        backed_up=verified.credential_backed_up,
        created_at=now,
    )


def verify_assertion(party: RelyingParty, credential: object, challenge: Challenge, passkey: Passkey) -> Assertion:
    """Return what the browser's answer proves about ``passkey``.

    :raises InvalidPasskey: anything about the answer is wrong.
    """
    from webauthn import verify_authentication_response

    verified: VerifiedAuthentication = _verified(
        verify_authentication_response,
        credential=credential,
        expected_challenge=from_base64url(challenge.text),
        expected_rp_id=party.id,
        expected_origin=list(party.origins),
        credential_public_key=from_base64url(passkey.public_key),
        # The counter is compared by the store, in the statement that spends the challenge: two workers would both find the
        # old one here.
        credential_current_sign_count=0,
        require_user_verification=True,
    )
    return Assertion(verified.new_sign_count, verified.credential_backed_up)


def _verified(verify: Callable[..., Any], *, credential: object, **expected: Any) -> Any:
    if not isinstance(credential, Mapping):
        raise InvalidPasskey("the answer is no JSON object")
    try:
        return verify(credential=dict(credential), **expected)
    except Exception as error:  # noqa: BLE001  # the library raises more than it documents on what attackers send
        # Only the kind: the text may quote what was sent.
        raise InvalidPasskey(f"the answer could not be verified ({type(error).__name__})") from None


def _client_data(credential: object) -> Mapping[str, Any]:
    response = credential.get("response") if isinstance(credential, Mapping) else None
    text = response.get("clientDataJSON") if isinstance(response, Mapping) else None
    if not isinstance(text, str):
        raise InvalidPasskey("the answer has no client data")
    try:
        data = json.loads(from_base64url(text))
    except (ValueError, RecursionError):
        raise InvalidPasskey("the client data is no JSON") from None
    if not isinstance(data, Mapping):
        raise InvalidPasskey("the client data is no JSON object")
    return data


_TRANSPORTS = ("usb", "nfc", "ble", "smart-card", "hybrid", "internal")


def _transports(credential: object) -> tuple[str, ...]:
    response = credential.get("response") if isinstance(credential, Mapping) else None
    given = response.get("transports") if isinstance(response, Mapping) else None
    return tuple(each for each in _TRANSPORTS if isinstance(given, list) and each in given)


def to_base64url(value: bytes) -> str:
    """Return bytes as base64url without padding, as WebAuthn writes them."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of a base64url text.

    :raises InvalidPasskey: it is none.
    """
    try:
        value = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPasskey("a text is not base64url") from None
    if to_base64url(value) != text.rstrip("="):
        raise InvalidPasskey("a text is not base64url in its one form")
    return value


def _challenge(value: bytes, expires_at: datetime) -> Challenge:
    return Challenge(to_base64url(value), hashlib.sha256(value).hexdigest(), expires_at)


def _sign(key: str | bytes, head: bytes, *parts: str) -> bytes:
    # Each part with its length, so that no two lists of parts read the same.
    message = b"".join(len(each).to_bytes(4, "big") + each for each in (head, *(part.encode() for part in parts)))
    return hmac.new(derive(key, "passkey challenges"), message, hashlib.sha256).digest()
