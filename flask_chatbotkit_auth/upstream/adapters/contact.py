"""Users as contacts: all of them share one account's bots and data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...clock import plausible_time, to_milliseconds, utcnow
from ...exceptions import APIError, APIStatusError, Conflict, EmailTaken
from ...identifier import normalize_identifier, same_identifier
from ...user import Kind, User
from ..client import ChatBotKitClient
from ..records import Record, require_keys, required_id
from .base import Fields, only_text, require_fields, require_other_field, stored_email
from .records import RecordAdapter

_log = logging.getLogger("flask_chatbotkit_auth")

FINGERPRINTS = 5
"""How many fingerprints are tried for one address. Contacts of somebody else can hold the first ones."""


class ContactAdapter(RecordAdapter):
    """Keeps each user as a contact of the secret's own account.

    Contacts are searched by ``meta.email``, which the Node adapter writes as well: the API has no other filter for them. The
    contact's own ``email`` field decides whether it belongs to the person. The picture is ``meta.image``. While
    ``meta.unverifiedEmail`` is the contact's address, its owner has not proved it since it was changed.

    :param client: acts as the account.
    :param switches: ``auto_create``, ``auto_update`` and ``auto_delete``.
    """

    kind: Kind = "contact"

    def __init__(self, client: ChatBotKitClient, **switches: bool) -> None:
        super().__init__(client, "/contact", **switches)

    def fingerprint(self, email: str) -> str:
        """Return the fingerprint for an identifier. It is the same on every worker and every deployment.

        A subclass can override this. A fingerprint has 17 to 191 characters, and must be different for each address.
        """
        return hashlib.sha256(f"flask-chatbotkit-auth:{email}".encode()).hexdigest()

    def get_by_email(self, email: str) -> User | None:
        # Oldest first: a person with several contacts gets the same one at every sign-in.
        record = self._records.find("meta.email", email, lambda record: _belongs_to(record, email), order="asc")
        return None if record is None else self._user(record)

    def create(
        self,
        email: str,
        *,
        name: str | None = None,
        image: str | None = None,
        meta: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> User:
        identifier = self._free_identifier(email)
        user, created = self._make(identifier, _fields(identifier, name=name, image=image, meta=meta, limits=limits))
        if not created:
            raise EmailTaken
        return self._user(self._records.fetch(user.id))

    def sign_up(self, email: str, fields: Fields) -> tuple[User, bool]:
        return self._make(email, {**_fields(email, **fields), "verifiedAt": to_milliseconds(utcnow())})

    def update(self, id: str, **fields: Any) -> User:
        require_fields(fields)
        if fields.get("limits"):
            raise TypeError("a contact has no limits of its own")
        changes: dict[str, Any] = {"name": fields["name"] or ""} if "name" in fields else {}
        meta = dict(fields.get("meta") or {})
        if "image" in fields:
            meta["image"] = fields["image"] or ""
        if fields.get("email_verified") is not None:
            changes["verifiedAt"] = to_milliseconds(fields["email_verified"])
            meta["unverifiedEmail"] = ""
        try:
            record = self._move(id, fields["email"] or "", changes, meta) if "email" in fields else None
            if record is None:
                record = self._records.change(id, changes, meta)
        except APIStatusError as error:
            require_other_field(error)
            raise
        return self._user(record or self._records.fetch(id))

    def refine(self, user: User) -> User:
        """Add ``verifiedAt`` if it is missing, and ``meta.email`` if it is blank or wrong. Change nothing else."""
        changes: dict[str, Any] = {}
        meta: dict[str, Any] = {}
        if user.email_verified is None:
            changes["verifiedAt"] = to_milliseconds(utcnow())
            if user.meta.get("unverifiedEmail"):
                meta["unverifiedEmail"] = ""
        if user.meta.get("email") != user.email:
            meta["email"] = user.email
        if not changes and not meta:
            return user
        try:
            self._records.change(user.id, changes, meta)
        except APIError:
            # The person has proved the address. A failure to record that must not keep them out.
            _log.warning("contact %s could not be completed at sign-in", user.id, exc_info=True)
            return user
        verified = user.email_verified or plausible_time(changes.get("verifiedAt"))
        return replace(user, email_verified=verified, meta={**user.meta, **meta})

    def _user(self, record: Record) -> User:
        meta = record.get("meta")
        meta = meta if isinstance(meta, Mapping) else {}
        email = stored_email(record.get("email")) or stored_email(meta.get("email"))
        proved = not email or meta.get("unverifiedEmail") != email
        return User(
            id=required_id(record),
            email=email,
            name=only_text(record.get("name")),
            image=only_text(meta.get("image")),
            email_verified=plausible_time(record.get("verifiedAt")) if proved else None,
            created_at=plausible_time(record.get("createdAt")),
            meta=meta,
            kind="contact",
        )

    def _make(self, email: str, fields: Fields) -> tuple[User, bool]:
        """Create the contact of an address, or return the one that it has already; also return whether it was created.

        In an account, a fingerprint is unique, and an address is not. If the contact with a fingerprint has another address
        by now, or was never verified, the next fingerprint of a fixed series is used.
        """
        for fingerprint in self._series(email):
            record = {**fields, "fingerprint": fingerprint}
            try:
                id = self._records.create(record)
            except Conflict:
                found = self.get_by_email(email) or self._behind(record, email)
                if found is not None:
                    return found, False
            except APIStatusError as error:
                require_other_field(error)
                raise
            else:
                return self._user({**record, "id": id, "createdAt": to_milliseconds(utcnow())}), True
        raise Conflict(409, "CONFLICT", f"all {FINGERPRINTS} fingerprints of this address are taken by other contacts")

    def _behind(self, record: Record, email: str) -> User | None:
        """Return the contact with the record's fingerprint, if its address is ``email``.

        :raises APIError: an outage. It must not give anybody a second contact.
        """
        id = self._ensured(record)
        if id is None:
            return self.get_by_email(email)
        contact = self._records.fetch(id)
        return self._user(contact) if _belongs_to(contact, email) else None

    def _ensured(self, record: Record) -> str | None:
        """Return the id of the contact with a fingerprint, or ``None`` if that contact is not verified.

        For an unverified contact ``ensure`` answers 500, as it does in an outage. So it is called twice, a second apart,
        and the look-up that follows must succeed.
        """
        fields = {key: value for key, value in record.items() if key != "verifiedAt"}
        for last in (False, True):
            try:
                return required_id(self.client.post("/contact/ensure", fields))
            except APIStatusError as error:
                # 409: the contact was deleted, and another call has just created it again.
                if error.status not in (409, 500) or not error.code or (last and error.status == 409):
                    raise
            if not last:
                self.client.wait(1)
        return None

    def _move(self, id: str, email: str, changes: dict[str, Any], meta: dict[str, Any]) -> Record | None:
        """Change a contact's address, its ``meta.email`` and its fingerprint together."""
        identifier = normalize_identifier(email, special_domains=True)
        meta["email"] = identifier
        before = self._records.fetch(id)
        if not _belongs_to(before, identifier):
            self._require_free(identifier, id)
            meta.setdefault("unverifiedEmail", identifier)
        for fingerprint in self._series(identifier):
            try:
                # With the old fingerprint, whoever signs in with the old address would get this contact.
                fields = {**changes, "email": identifier, "fingerprint": fingerprint}
                return self._records.change(id, fields, meta) or self._records.fetch(id)
            except Conflict:
                record = {**_fields(identifier), "fingerprint": fingerprint}
                other = self.get_by_email(identifier) or self._behind(record, identifier)
                if other is not None and other.id != id:
                    raise EmailTaken from None
        raise EmailTaken

    def _series(self, email: str) -> Iterator[str]:
        first = self.fingerprint(email)
        yield first
        for number in range(2, FINGERPRINTS + 1):
            yield hashlib.sha256(f"{first}:{number}".encode()).hexdigest()


def _fields(
    email: str,
    *,
    name: str | None = None,
    image: str | None = None,
    meta: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    if limits:
        raise TypeError("a contact has no limits of its own")
    require_keys(meta or {})
    fields = {"email": email, "meta": {**(meta or {}), "email": email, **({"image": image} if image else {})}}
    return {**fields, **({"name": name} if name else {})}


def _belongs_to(record: Record, email: str) -> bool:
    own = only_text(record.get("email"))
    if own is not None:
        return same_identifier(own, email)
    meta = record.get("meta")
    return isinstance(meta, Mapping) and same_identifier(meta.get("email"), email)
