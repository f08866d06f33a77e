"""Passkeys (WebAuthn): the options that a browser is given, and what its answer proves.

This package knows neither Flask nor the store. The ``webauthn`` library checks signatures, origins and flags; it is imported
at the first answer. The store checks that a challenge is used once, that a credential id exists once, and the signature
counter.
"""

from .answers import (
    Assertion,
    check_user_handle,
    named_challenge,
    named_credential,
    passkey_id,
    verify_assertion,
    verify_creation,
)
from .base64url import from_base64url, to_base64url
from .challenges import CHALLENGE_LIFETIME, Challenge, Challenges
from .options import ALGORITHMS, MAX_PASSKEYS, RelyingParty, creation_options, request_options, user_handle
from .providers import provider_of

__all__ = [
    "ALGORITHMS",
    "CHALLENGE_LIFETIME",
    "MAX_PASSKEYS",
    "Assertion",
    "Challenge",
    "Challenges",
    "RelyingParty",
    "check_user_handle",
    "creation_options",
    "from_base64url",
    "named_challenge",
    "named_credential",
    "passkey_id",
    "provider_of",
    "request_options",
    "to_base64url",
    "user_handle",
    "verify_assertion",
    "verify_creation",
]
