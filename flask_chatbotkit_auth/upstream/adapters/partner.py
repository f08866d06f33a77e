"""Users as partner sub-accounts: each with bots, data and limits of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...clock import plausible_time, to_milliseconds, utcnow
from ...exceptions import APIStatusError, Conflict, EmailTaken
from ...identifier import normalize_identifier, same_identifier
from ...user import User
from ..client import ChatBotKitClient
from ..records import Record, require_keys, required_id
from .base import Fields, only_text, require_fields, require_other_field, stored_email
from .records import RecordAdapter


class PartnerAdapter(RecordAdapter):
    """Keeps each user as a sub-account of the secret's own account (the Partner API).

    The API has no field for the time at which an address was proved. Accounts that a sign-in creates keep it as
    ``meta.verifiedAt``. A sign-in writes nothing to an existing account, since any update would reset its alias.

    :param client: acts as the parent account.
    :param switches: ``auto_create``, ``auto_update`` and ``auto_delete``.
    """

    def __init__(self, client: ChatBotKitClient, **switches: bool) -> None:
        super().__init__(client, "/user", **switches)

    def get_by_email(self, email: str) -> User | None:
        record = self._records.find("email", email, lambda record: same_identifier(record.get("email"), email))
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
        try:
            id = self._records.create(_fields(identifier, name=name, image=image, meta=meta, limits=limits))
        except Conflict:
            raise EmailTaken from None
        return self._user(self._records.fetch(id))

    def sign_up(self, email: str, fields: Fields) -> tuple[User, bool]:
        now = to_milliseconds(utcnow())
        record = _fields(email, **{**fields, "meta": {**(fields.get("meta") or {}), "verifiedAt": now}})
        try:
            id = self._records.create(record)
        except Conflict:
            # Another call was first, and has created the account.
            user = self.get_by_email(email)
            if user is None:
                raise
            return user, False
        except APIStatusError as error:
            require_other_field(error)
            raise
        return self._user({**record, "id": id, "createdAt": now}), True

    def update(self, id: str, **fields: Any) -> User:
        require_fields(fields)
        changes: dict[str, Any] = {key: fields[key] or "" for key in ("name", "image") if key in fields}
        meta = dict(fields.get("meta") or {})
        if "limits" in fields:
            changes["limits"] = dict(fields["limits"] or {})
        if "email" in fields:
            changes["email"] = normalize_identifier(fields["email"] or "", special_domains=True)
            if not same_identifier(self._records.fetch(id).get("email"), changes["email"]):
                self._require_free(changes["email"], id)
                meta["verifiedAt"] = None
        if "email_verified" in fields:
            meta["verifiedAt"] = _milliseconds(fields["email_verified"])
        try:
            record = self._records.change(id, changes, meta)
        except Conflict:
            if "email" not in changes:
                raise
            raise EmailTaken from None
        except APIStatusError as error:
            require_other_field(error)
            raise
        return self._user(record or self._records.fetch(id))

    def _user(self, record: Record) -> User:
        meta, limits = record.get("meta"), record.get("limits")
        meta = meta if isinstance(meta, Mapping) else {}
        return User(
            id=required_id(record),
            email=stored_email(record.get("email")),
            name=only_text(record.get("name")),
            image=only_text(record.get("image")),
            email_verified=plausible_time(meta.get("verifiedAt")),
            created_at=plausible_time(record.get("createdAt")),
            meta=meta,
            limits=limits if isinstance(limits, Mapping) else {},
            kind="partner",
        )


def _fields(
    email: str,
    *,
    name: str | None = None,
    image: str | None = None,
    meta: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    require_keys(meta or {})
    fields = {"name": name, "image": image, "meta": dict(meta or {}), "limits": dict(limits or {})}
    return {"email": email, **{key: value for key, value in fields.items() if value}}


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else to_milliseconds(moment)
