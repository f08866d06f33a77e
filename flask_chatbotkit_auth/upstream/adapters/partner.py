"""Users as partner sub-accounts: each with bots, data and limits of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...clock import plausible_time, to_milliseconds, utcnow
from ...exceptions import NotAuthorized, NotFound
from ...identifier import same_identifier
from ...user import User
from ..client import ChatBotKitClient, path_segment
from .base import UserAdapter, fetched, only_text, required_id, stored_email


class PartnerAdapter(UserAdapter):
    """Keeps each user as a sub-account of the secret's own account (the Partner API).

    The API has no field for when an address was proved; it is kept as ``meta.verifiedAt`` of the accounts that sign-ins make.

    :param client: acts as the parent account.
    :param switches: ``auto_create``, ``auto_update`` and ``auto_delete``.
    """

    def __init__(self, client: ChatBotKitClient, **switches: bool) -> None:
        super().__init__(**switches)
        self.client = client

    def get(self, id: str) -> User | None:
        try:
            return _user(fetched(self.client.get(f"/user/{path_segment(id)}/fetch"), id))
        except (NotFound, NotAuthorized) as error:
            if not error.code:
                raise  # no answer of this API, such as a gateway's own page: it says nothing about the account
            return None

    def get_by_email(self, email: str) -> User | None:
        # A deployment that does not know the filter answers everybody: compare each one, page after page.
        for page in self.client.pages("/user/list", {"email": email}):
            for record in page:
                if same_identifier(record.get("email"), email):
                    return _user(record)
        return None

    def create(
        self, email: str, *, name: str | None = None, image: str | None = None, meta: Mapping[str, Any] | None = None
    ) -> User:
        now = to_milliseconds(utcnow())
        given = {"name": name, "image": image, "meta": dict(meta) if meta else None}
        fields = {"email": email, **{key: value for key, value in given.items() if value is not None}}
        answer = self.client.post("/user/create", fields)
        return _user({**fields, "id": required_id(answer), "createdAt": now})

    def create_verified(self, email: str) -> User:
        return self.create(email, meta={"verifiedAt": to_milliseconds(utcnow())})

    def update(self, id: str, **fields: Any) -> User:
        path = f"/user/{path_segment(id)}"
        self.client.post(f"{path}/update", fields, idempotent=True)
        return _user(fetched(self.client.get(f"{path}/fetch"), id))

    def delete(self, id: str) -> None:
        try:
            self.client.post(f"/user/{path_segment(id)}/delete", {}, idempotent=True)
        except NotFound:
            pass

    def list(self, **filters: Any) -> Iterator[User]:
        for record in self.client.paginate("/user/list", filters):
            yield _user(record)


def _user(record: Mapping[str, Any]) -> User:
    meta = record.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    return User(
        id=required_id(record),
        email=stored_email(record.get("email")),
        name=only_text(record.get("name")),
        image=only_text(record.get("image")),
        email_verified=plausible_time(meta.get("verifiedAt")),
        created_at=plausible_time(record.get("createdAt")),
        meta=meta,
        kind="partner",
    )
