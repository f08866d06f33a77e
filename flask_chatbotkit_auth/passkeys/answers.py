"""Checks a browser's answer: the passkey that it created, or the proof that it has one."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..exceptions import InvalidPasskey
from ..nesting import is_too_deep
from ..stores.passkeys import Passkey
from .base64url import from_base64url, to_base64url
from .challenges import Challenge
from .options import ALGORITHMS, RelyingParty, user_handle

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
    from webauthn.registration.verify_registration_response import VerifiedRegistration


MAX_CREDENTIAL_ID = 1023
"""The most bytes in the id of a credential (WebAuthn level 3, section 7.1)."""


@dataclass(frozen=True)
class Assertion:
    """The result of a valid sign-in with a passkey."""

    sign_count: int
    backed_up: bool


def passkey_id(credential_id: str) -> str:
    """Return the key of a credential in the store: the SHA-256 of its id, in hexadecimal.

    :param credential_id: the id in base64url, as the browser sends it.
    :raises InvalidPasskey: it is not base64url.
    """
    return hashlib.sha256(from_base64url(credential_id)).hexdigest()


def named_challenge(credential: object) -> str:
    """Return the challenge that a browser's answer says it signed. This proves nothing yet.

    :raises InvalidPasskey: the answer is malformed, or came from a page in a frame of another site.
    """
    client_data = _client_data(credential)
    if client_data.get("crossOrigin") not in (None, False) or "topOrigin" in client_data:
        raise InvalidPasskey("the answer came from a page inside another site's frame")
    challenge = client_data.get("challenge")
    if not isinstance(challenge, str):
        raise InvalidPasskey("the answer names no challenge")
    return challenge


def named_credential(credential: object) -> str:
    """Return the id of the credential in a browser's answer, in base64url.

    :raises InvalidPasskey: the answer is malformed.
    """
    id = credential.get("id") if isinstance(credential, Mapping) else None
    if not isinstance(id, str) or not 0 < len(id) <= 2048:
        raise InvalidPasskey("the answer names no credential")
    return id


def check_user_handle(credential: object, user_id: str) -> None:
    """Raise unless the answer's user handle is that of ``user_id``.

    :raises InvalidPasskey: it is missing, or belongs to somebody else.
    """
    response = credential.get("response") if isinstance(credential, Mapping) else None
    handle = response.get("userHandle") if isinstance(response, Mapping) else None
    if not isinstance(handle, str) or not hmac.compare_digest(from_base64url(handle), user_handle(user_id)):
        raise InvalidPasskey("the answer does not name the owner of this passkey")


def verify_creation(
    party: RelyingParty, credential: object, challenge: Challenge, *, user_id: str, name: str, now: datetime
) -> Passkey:
    """Check the browser's answer, and return the passkey that it has created.

    :param name: the name that the person sees in the list of passkeys.
    :raises InvalidPasskey: the answer is invalid.
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
    if len(verified.credential_id) > MAX_CREDENTIAL_ID:
        raise InvalidPasskey("the id of the credential is too long")
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
    """Check the browser's answer with ``passkey``, and return its result.

    :raises InvalidPasskey: the answer is invalid.
    """
    from webauthn import verify_authentication_response

    verified: VerifiedAuthentication = _verified(
        verify_authentication_response,
        credential=credential,
        expected_challenge=from_base64url(challenge.text),
        expected_rp_id=party.id,
        expected_origin=list(party.origins),
        credential_public_key=from_base64url(passkey.public_key),
        # The store compares the counter, in the statement that marks the challenge as used. Here, two workers could both
        # compare with the old value.
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
        # Only the type: the text can quote what was sent.
        raise InvalidPasskey(f"the answer could not be verified ({type(error).__name__})") from None


def _client_data(credential: object) -> Mapping[str, Any]:
    response = credential.get("response") if isinstance(credential, Mapping) else None
    text = response.get("clientDataJSON") if isinstance(response, Mapping) else None
    if not isinstance(text, str):
        raise InvalidPasskey("the answer has no client data")
    try:
        raw = from_base64url(text)
        data = None if is_too_deep(raw) else json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidPasskey("the client data is no JSON") from None
    if not isinstance(data, Mapping):
        raise InvalidPasskey("the client data is no JSON object")
    return data


_TRANSPORTS = ("usb", "nfc", "ble", "smart-card", "hybrid", "internal")


def _transports(credential: object) -> tuple[str, ...]:
    response = credential.get("response") if isinstance(credential, Mapping) else None
    named = response.get("transports") if isinstance(response, Mapping) else None
    return tuple(each for each in _TRANSPORTS if isinstance(named, list) and each in named)
