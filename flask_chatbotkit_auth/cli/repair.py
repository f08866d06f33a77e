"""Contacts that sign-in cannot find, or finds twice: how they are told, and how ``meta.email`` is healed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import InvalidEmail
from ..identifier import normalize_identifier, same_identifier
from ..upstream.client import ChatBotKitClient, path_segment


@dataclass(frozen=True)
class Contact:
    """As much of a contact as it takes to judge it."""

    id: str
    identifier: str
    """The address that it belongs to, normalised."""
    found_by: str | None
    """Its ``meta.email``, the address that sign-in finds it by."""

    @property
    def sound(self) -> bool:
        """Whether sign-in finds it by its own address."""
        return same_identifier(self.found_by, self.identifier)


@dataclass(frozen=True)
class Report:
    """What is wrong with an account's contacts."""

    contacts: int
    """How many were looked at."""

    healable: list[Contact] = field(default_factory=list)
    """Those whose ``meta.email`` is blank or wrong and may be set right."""

    shadowed: list[Contact] = field(default_factory=list)
    """Those whose ``meta.email`` is blank or wrong and better stays so: each is older than the contact that its person
    signs in to, and sign-in takes the oldest."""

    duplicates: dict[str, list[Contact]] = field(default_factory=dict)
    """The contacts of each address that has several, the oldest first."""


def list_query() -> dict[str, str]:
    """Return the query that lists contacts as :func:`examine` takes them: the oldest first."""
    return {"order": "asc"}


def examine(records: Iterable[Mapping[str, Any]]) -> Report:
    """Judge contacts as the API lists them, the oldest first.

    A contact without any address is nobody's who signs in, and is left out.
    """
    people: dict[str, list[Contact]] = {}
    count = 0
    for record in records:
        count += 1
        contact = _contact(record)
        if contact is not None:
            people.setdefault(contact.identifier, []).append(contact)
    report = Report(count)
    for identifier, contacts in people.items():
        if len(contacts) > 1:
            report.duplicates[identifier] = contacts
        in_use = next((place for place, contact in enumerate(contacts) if contact.sound), -1)
        for place, contact in enumerate(contacts):
            if not contact.sound:
                (report.shadowed if place < in_use else report.healable).append(contact)
    return report


def heal(client: ChatBotKitClient, contact: Contact) -> None:
    """Write the contact's own address into its ``meta.email``, and change nothing else.

    :raises APIError: the API could not be reached or refused.
    """
    path = f"/contact/{path_segment(contact.id)}/update"
    client.post(path, {"meta": {"email": contact.identifier}}, idempotent=True)


def _contact(record: Mapping[str, Any]) -> Contact | None:
    meta = record.get("meta")
    found_by = meta.get("email") if isinstance(meta, Mapping) else None
    found_by = found_by if isinstance(found_by, str) and found_by.strip() else None
    # As the adapter has it: the contact's own field decides, and meta.email only where that is missing.
    own = record.get("email")
    address = own if isinstance(own, str) and own.strip() else found_by
    id = record.get("id")
    if not address or not isinstance(id, str):
        return None
    try:
        return Contact(id, normalize_identifier(address), found_by)
    except InvalidEmail:
        return None
