"""The passkey contract: what a store remembers of passkeys, beside challenges and sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from ..clock import from_milliseconds, to_milliseconds
from .records import SessionRecord

if TYPE_CHECKING:
    from .events import Event


@dataclass(frozen=True)
class Passkey:
    """One passkey of one account. Times are aware UTC."""

    id: str
    """SHA-256 of the credential id, in hexadecimal."""

    credential_id: str = field(repr=False)
    """The authenticator's own id of it, base64url."""

    user_id: str
    public_key: str = field(repr=False)
    """COSE, base64url."""

    created_at: datetime
    sign_count: int = 0
    name: str = ""
    """At most 64 characters."""

    aaguid: str = ""
    """The model of the authenticator, for display only."""

    transports: tuple[str, ...] = ()
    synced: bool = False
    """Whether it may be copied to other devices (backup eligible). One that is not is bound to its device."""

    backed_up: bool = False
    used_at: datetime | None = None
    gone_at: datetime | None = None
    """When the API first said that the account is gone; ``None`` again after any fetch that succeeds."""

    def to_json(self) -> dict[str, Any]:
        """Return every field, times in milliseconds since the epoch, transports with commas between."""
        record = vars(self).copy()
        for key in ("created_at", "used_at", "gone_at"):
            record[key] = record[key] and to_milliseconds(record[key])
        return {**record, "transports": ",".join(self.transports)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Passkey:
        """Return the passkey that :meth:`to_json` wrote. Numbers may be text, and ``None`` may be empty."""
        times = {
            key: from_milliseconds(int(record[key])) if record.get(key) else None for key in ("used_at", "gone_at")
        }
        return cls(
            id=record["id"],
            credential_id=record["credential_id"],
            user_id=record["user_id"],
            public_key=record["public_key"],
            created_at=from_milliseconds(int(record["created_at"])),
            sign_count=int(record["sign_count"]),
            name=record["name"] or "",
            aaguid=record["aaguid"] or "",
            transports=tuple(each for each in (record["transports"] or "").split(",") if each),
            synced=bool(int(record["synced"])),
            backed_up=bool(int(record["backed_up"])),
            **times,
        )


class Added(Enum):
    """The answer of :meth:`PasskeyStore.add_passkey`."""

    ADDED = "added"
    REPLAYED = "replayed"
    """The challenge has been used before."""
    TAKEN = "taken"
    """There is such a passkey already."""
    FULL = "full"
    """The person has as many as one may have."""


class Used(Enum):
    """The answer of :meth:`PasskeyStore.use_passkey`."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    """The challenge has been used before."""
    CLONED = "cloned"
    """The counter of a device-bound passkey did not go up: there may be two of it."""
    MISSING = "missing"
    """There is no such passkey (any more), or it is another account's."""


class PasskeyStore(ABC):
    """Remembers passkeys. A store that is one of these, too, can be used with ``CHATBOTKIT_AUTH_PASSKEYS``.

    Each method is atomic, as those of :class:`~flask_chatbotkit_auth.stores.base.Store` are.
    """

    @abstractmethod
    def add_passkey(self, passkey: Passkey, *, nonce: str, nonce_until: datetime, now: datetime, limit: int) -> Added:
        """Remember a new passkey, once for each nonce.

        :param nonce: the digest of the registration's challenge. It is spent whatever the answer is.
        :param limit: how many passkeys an account may have, this one included.
        """

    @abstractmethod
    def use_passkey(
        self,
        passkey_id: str,
        session: SessionRecord,
        *,
        sign_count: int,
        backed_up: bool,
        nonce: str,
        nonce_until: datetime,
        now: datetime,
        event: Event | None = None,
    ) -> Used:
        """Note that the passkey was used, and remember the session it leads to: both, or neither.

        Only ``ACCEPTED`` makes a session. Every answer spends the nonce. The counter must have gone up, or be zero on both
        sides; that of a synced passkey is written and not compared.

        :param nonce: the digest of the challenge.
        :param session: its user must be the passkey's.
        """

    @abstractmethod
    def get_passkey(self, passkey_id: str) -> Passkey | None:
        """Return the passkey, or ``None``."""

    @abstractmethod
    def list_passkeys(self, user_id: str) -> list[Passkey]:
        """Return the passkeys of one account, the oldest first."""

    @abstractmethod
    def rename_passkey(self, passkey_id: str, name: str, *, user_id: str) -> bool:
        """Rename a passkey of this user; return whether there was one."""

    @abstractmethod
    def remove_passkey(self, passkey_id: str, *, user_id: str) -> bool:
        """Remove a passkey of this user; return whether there was one."""

    @abstractmethod
    def remove_passkeys(self, user_id: str) -> int:
        """Remove every passkey of this user; return how many there were."""

    @abstractmethod
    def mark_passkeys(self, user_id: str, *, gone_at: datetime | None) -> None:
        """Note that the API knows the account no more since then, or with ``None`` that it does. The first time stays."""

    @abstractmethod
    def gone_passkeys(self, *, before: datetime, limit: int = 100) -> list[str]:
        """Return the ids of accounts that have been gone since before then and still have passkeys."""
