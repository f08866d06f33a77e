"""The contract of a store that keeps passkeys."""

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
    """The id that the authenticator gave it, in base64url."""

    user_id: str
    public_key: str = field(repr=False)
    """The public key in COSE, in base64url."""

    created_at: datetime
    sign_count: int = 0
    name: str = ""
    """At most 64 characters."""

    aaguid: str = ""
    """The model of the authenticator, for display only."""

    transports: tuple[str, ...] = ()
    synced: bool = False
    """Whether it can be synced to other devices (backup eligible). Otherwise it is bound to its device."""

    backed_up: bool = False
    used_at: datetime | None = None
    gone_at: datetime | None = None
    """When the API first answered that the account does not exist, or when the account was suspended; ``None`` again after
    an active account was fetched."""

    def to_json(self) -> dict[str, Any]:
        """Return every field, with times in milliseconds since the epoch and transports separated by commas."""
        record = vars(self).copy()
        for key in ("created_at", "used_at", "gone_at"):
            record[key] = record[key] and to_milliseconds(record[key])
        return {**record, "transports": ",".join(self.transports)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Passkey:
        """Return the passkey that :meth:`to_json` wrote. Numbers can be texts, and ``None`` can be empty."""
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
    """The result of :meth:`PasskeyStore.add_passkey`."""

    ADDED = "added"
    REPLAYED = "replayed"
    """The challenge was used before."""
    TAKEN = "taken"
    """This passkey exists already."""
    FULL = "full"
    """The account has the maximum number of passkeys."""


class Used(Enum):
    """The result of :meth:`PasskeyStore.use_passkey`."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    """The challenge was used before."""
    CLONED = "cloned"
    """The counter of a device-bound passkey has not increased: it may have been copied."""
    MISSING = "missing"
    """The passkey does not exist, or belongs to another account."""
    GONE = "gone"
    """Since the account was fetched, it was suspended, or was not found at the API. ``gone_at`` is set."""


class PasskeyStore(ABC):
    """Stores passkeys. A store that also inherits from this class can be used with ``CHATBOTKIT_AUTH_PASSKEYS``.

    Each method is atomic, like those of :class:`~flask_chatbotkit_auth.stores.base.Store`.
    """

    @abstractmethod
    def add_passkey(self, passkey: Passkey, *, nonce: str, nonce_until: datetime, now: datetime, limit: int) -> Added:
        """Add a passkey, once for each nonce.

        :param nonce: the digest of the challenge of the registration. It is marked as used, whatever the result is.
        :param limit: the most passkeys of an account, including this one.
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
        """Write the use of a passkey, and add its session: both or neither.

        Only ``ACCEPTED`` adds a session. Every result marks the nonce as used. ``gone_at`` must be ``None``. The counter must
        have increased, or be zero on both sides. The counter of a synced passkey is written, but not compared.

        :param nonce: the digest of the challenge.
        :param session: the session. Its user must own the passkey.
        """

    @abstractmethod
    def get_passkey(self, passkey_id: str) -> Passkey | None:
        """Return the passkey, or ``None``."""

    @abstractmethod
    def list_passkeys(self, user_id: str) -> list[Passkey]:
        """Return the passkeys of one account, the oldest first."""

    @abstractmethod
    def rename_passkey(self, passkey_id: str, name: str, *, user_id: str) -> bool:
        """Rename a passkey of this user. Return whether it exists."""

    @abstractmethod
    def remove_passkey(self, passkey_id: str, *, user_id: str) -> bool:
        """Remove a passkey of this user. Return whether it existed."""

    @abstractmethod
    def remove_passkeys(self, user_id: str) -> int:
        """Remove every passkey of this user. Return how many there were."""

    @abstractmethod
    def mark_passkeys(self, user_id: str, *, gone_at: datetime | None) -> None:
        """Note since when the account does not exist or is suspended; ``None`` if neither. The first time is kept."""

    @abstractmethod
    def gone_passkeys(self, *, before: datetime, limit: int = 100) -> list[str]:
        """Return the ids of accounts with passkeys that have not existed since before then."""
