"""An authenticator in software: it creates and uses passkeys in tests, as a phone or a security key does."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .client import post_json, url_prefix

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class _Credential:
    rp_id: str
    user_handle: bytes
    key: EllipticCurvePrivateKey = field(repr=False)
    sign_count: int = 0


class SoftwareAuthenticator:
    """Holds passkeys and answers WebAuthn options, to test signing in with a passkey.

    ::

        device = SoftwareAuthenticator("http://localhost")
        device.register(client)   # of a person who is signed in
        device.sign_in(client)    # the next day

    It needs the ``[passkeys]`` extra. You can change each attribute between two calls, to simulate another kind of device
    or an attacker.

    :param origin: the origin of the page that asks, as ``CHATBOTKIT_AUTH_ORIGIN`` has it.
    """

    origin: str
    synced: bool = True
    """Whether passkeys are synced to other devices of their owner. If not, each use increments a signature counter."""

    verifies: bool = True
    """Whether it verifies its user, by a fingerprint, a face or a PIN."""

    cross_origin: bool = False
    """Whether the page that asks is in a frame of another site."""

    aaguid: bytes = bytes(16)
    """The model of the device, 16 bytes."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.credentials: dict[bytes, _Credential] = {}

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the ``publicKey`` options of a registration: what ``navigator.credentials.create`` returns, as JSON.

        :raises ValueError: it already holds a passkey for this account (``InvalidStateError`` in a browser).
        """
        import cbor2
        from cryptography.hazmat.primitives.asymmetric import ec

        excluded = {_bytes(each["id"]) for each in options["excludeCredentials"]}
        if excluded & self.credentials.keys():
            raise ValueError("this authenticator has a passkey for the account already")
        id, key = secrets.token_bytes(32), ec.generate_private_key(ec.SECP256R1())
        credential = _Credential(options["rp"]["id"], _bytes(options["user"]["id"]), key)
        self.credentials[id] = credential
        point = key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        attested = self.aaguid + len(id).to_bytes(2, "big") + id + public
        data = self._data(credential, _ATTESTED) + attested
        return self._answer(
            id,
            clientDataJSON=_text(self._client_data("webauthn.create", options["challenge"])),
            attestationObject=_text(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            transports=["internal", "hybrid"] if self.synced else ["usb"],
        )

    def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the ``publicKey`` options of a sign-in: what ``navigator.credentials.get`` returns, as JSON.

        :raises LookupError: it holds no passkey for this site.
        """
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        held = [(id, each) for id, each in self.credentials.items() if each.rp_id == options["rpId"]]
        if not held:
            raise LookupError("this authenticator has no passkey for the site")
        id, credential = held[-1]
        if not self.synced:
            credential.sign_count += 1
        data = self._data(credential)
        client_data = self._client_data("webauthn.get", options["challenge"])
        signature = credential.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            id,
            clientDataJSON=_text(client_data),
            authenticatorData=_text(data),
            signature=_text(signature),
            userHandle=_text(credential.user_handle),
        )

    def register(self, client: FlaskClient, *, name: str | None = None, prefix: str | None = None) -> TestResponse:
        """Create a passkey for the person who is signed in to ``client``. Return the response."""
        prefix = url_prefix(client, prefix)
        options = post_json(client, f"{prefix}/account/passkeys/options", {}, prefix=prefix).get_json()["publicKey"]
        body = {"credential": self.create(options), **({"name": name} if name else {})}
        return post_json(client, f"{prefix}/account/passkeys", body, prefix=prefix)

    def sign_in(self, client: FlaskClient, *, next: str | None = None, prefix: str | None = None) -> TestResponse:
        """Sign in the owner of the newest passkey. Return the response."""
        prefix = url_prefix(client, prefix)
        options = post_json(client, f"{prefix}/passkey/options", {}, prefix=prefix).get_json()["publicKey"]
        body = {"credential": self.get(options), **({"next": next} if next else {})}
        return post_json(client, f"{prefix}/passkey", body, prefix=prefix)

    def _data(self, credential: _Credential, flags: int = 0) -> bytes:
        flags |= _PRESENT | (_VERIFIED if self.verifies else 0)
        if self.synced:
            flags |= _ELIGIBLE | _BACKED_UP
        return (
            hashlib.sha256(credential.rp_id.encode()).digest()
            + bytes([flags])
            + credential.sign_count.to_bytes(4, "big")
        )

    def _client_data(self, type: str, challenge: str) -> bytes:
        data = {"type": type, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return json.dumps(data, separators=(",", ":")).encode()

    def _answer(self, id: bytes, **response: Any) -> dict[str, Any]:
        return {
            "id": _text(id),
            "rawId": _text(id),
            "type": "public-key",
            "authenticatorAttachment": "platform" if self.synced else "cross-platform",
            "clientExtensionResults": {},
            "response": response,
        }


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
