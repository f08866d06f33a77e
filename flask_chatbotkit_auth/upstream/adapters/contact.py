"""Users as contacts: all of them share one account's bots and data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ...clock import plausible_time, to_milliseconds, utcnow
from ...exceptions import APIError, NotAuthorized, NotFound
from ...identifier import same_identifier
from ...user import Kind, User
from ..client import ChatBotKitClient, path_segment
from .base import UserAdapter, fetched, only_text, required_id, stored_email

_log = logging.getLogger("flask_chatbotkit_auth")


class ContactAdapter(UserAdapter):
    """Keeps each user as a contact of the secret's own account.

    Contacts are found by ``meta.email``, the one filter that the API has for them, as the Node adapter writes it; the
    contact's own ``email`` field decides whether it is the person's. The picture is kept as ``meta.image``.

    :param client: acts as the account.
    :param switches: ``auto_create``, ``auto_update`` and ``auto_delete``.
    """

    kind: Kind = "contact"

    def __init__(self, client: ChatBotKitClient, **switches: bool) -> None:
        super().__init__(**switches)
        self.client = client

    def get(self, id: str) -> User | None:
        try:
            return _user(fetched(self.client.get(f"/contact/{path_segment(id)}/fetch"), id))
        except (NotFound, NotAuthorized) as error:
            if not error.code:
                raise  # no answer of this API, such as a gateway's own page: it says nothing about the account
            return None

    def get_by_email(self, email: str) -> User | None:
        # Oldest first: where one person has several contacts, it is the same one at every sign-in.
        for page in self.client.pages("/contact/list", {"meta.email": email, "order": "asc"}):
            for record in page:
                if _belongs_to(record, email):
                    return _user(record)
        return None

    def create(
        self, email: str, *, name: str | None = None, image: str | None = None, meta: Mapping[str, Any] | None = None
    ) -> User:
        """Make a contact, or return the one that was made from this address before.

        The fingerprint is derived from the address and ``ensure`` is idempotent by it, so that any number of callers at
        once make one contact.
        """
        now = to_milliseconds(utcnow())
        all_meta = {**(meta or {}), "email": email, **({"image": image} if image else {})}
        fields = {"fingerprint": fingerprint(email), "email": email, "meta": all_meta}
        if name:
            fields["name"] = name
        answer = self.client.post("/contact/ensure", fields, idempotent=True)
        return _user({**fields, "id": required_id(answer), "createdAt": now, "verifiedAt": now})

    def update(self, id: str, **fields: Any) -> User:
        path = f"/contact/{path_segment(id)}"
        meta = dict(fields.pop("meta", None) or {})
        if "image" in fields:
            meta["image"] = fields.pop("image")
        if "email" in fields:
            meta["email"] = fields["email"]
            # Else `ensure` would give this contact to whoever signs in with the old address.
            fields["fingerprint"] = fingerprint(stored_email(fields["email"]))
        self.client.post(f"{path}/update", {**fields, **({"meta": meta} if meta else {})}, idempotent=True)
        return _user(fetched(self.client.get(f"{path}/fetch"), id))

    def delete(self, id: str) -> None:
        try:
            self.client.post(f"/contact/{path_segment(id)}/delete", {}, idempotent=True)
        except NotFound:
            pass

    def list(self, **filters: Any) -> Iterator[User]:
        for record in self.client.paginate("/contact/list", filters):
            yield _user(record)

    def refine(self, user: User) -> User:
        """Add ``verifiedAt`` where it is missing and ``meta.email`` where it is blank or wrong; change nothing else."""
        missing: dict[str, Any] = {}
        if user.email_verified is None:
            missing["verifiedAt"] = to_milliseconds(utcnow())
        if not same_identifier(user.meta.get("email"), user.email):
            missing["meta"] = {"email": user.email}
        if not missing:
            return user
        try:
            self.client.post(f"/contact/{path_segment(user.id)}/update", missing, idempotent=True)
        except APIError:
            # The person proved the address; a note about it that could not be written must not keep them out.
            _log.warning("contact %s could not be completed at sign-in", user.id, exc_info=True)
            return user
        return User(
            **{
                **vars(user),
                "email_verified": user.email_verified or plausible_time(missing.get("verifiedAt")),
                "meta": {**user.meta, **missing.get("meta", {})},
            }
        )


def fingerprint(email: str) -> str:
    """Return the fingerprint of the contact of one identifier: the same on every worker and every deployment."""
    return hashlib.sha256(f"flask-chatbotkit-auth:{email}".encode()).hexdigest()


def _belongs_to(record: Mapping[str, Any], email: str) -> bool:
    own = only_text(record.get("email"))
    if own is not None:
        return same_identifier(own, email)
    meta = record.get("meta")
    return isinstance(meta, Mapping) and same_identifier(meta.get("email"), email)


def _user(record: Mapping[str, Any]) -> User:
    meta = record.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    return User(
        id=required_id(record),
        email=stored_email(record.get("email")) or stored_email(meta.get("email")),
        name=only_text(record.get("name")),
        image=only_text(meta.get("image")),
        email_verified=plausible_time(record.get("verifiedAt")),
        created_at=plausible_time(record.get("createdAt")),
        meta=meta,
        kind="contact",
    )
