"""What sub-accounts and contacts have in common: each is a record of one resource of the API."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from ...exceptions import EmailTaken
from ...identifier import normalize_identifier
from ...user import User
from ..client import ChatBotKitClient
from ..records import Record, Records
from .base import Page, UserAdapter


class RecordAdapter(UserAdapter):
    """Keeps each user as a record of the API.

    :param client: acts as the account that the records belong to.
    :param path: the resource, ``"/user"`` or ``"/contact"``.
    :param switches: ``auto_create``, ``auto_update`` and ``auto_delete``.
    """

    def __init__(self, client: ChatBotKitClient, path: str, **switches: bool) -> None:
        super().__init__(**switches)
        self.client = client
        self._records = Records(client, path)

    @abstractmethod
    def _user(self, record: Record) -> User:
        """Return the user that a record describes."""

    def get(self, id: str) -> User | None:
        record = self._records.get(id)
        return None if record is None else self._user(record)

    def refresh(self, id: str) -> User | None:
        record = self._records.refresh(id)
        return None if record is None else self._user(record)

    def delete(self, id: str) -> None:
        self._records.delete(id)

    def list(self, **filters: Any) -> Iterator[User]:
        for record in self._records.all(filters):
            yield self._user(record)

    def page(self, *, after: str | None = None, take: int = 50) -> Page:
        records, following = self._records.page(after, take)
        return [self._user(record) for record in records], following

    def _free_identifier(self, email: str) -> str:
        """Return the identifier of an address.

        :raises InvalidEmail: it is no address.
        :raises EmailTaken: it has an account already.
        """
        identifier = normalize_identifier(email, special_domains=True)
        self._require_free(identifier)
        return identifier

    def _require_free(self, identifier: str, id: str | None = None) -> None:
        """Raise unless the address has no account, or that of ``id``.

        :raises EmailTaken: it has another one.
        """
        owner = self.get_by_email(identifier)
        if owner is not None and owner.id != id:
            raise EmailTaken
