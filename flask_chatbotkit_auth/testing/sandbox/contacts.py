"""Contacts: what the API does with them, and the rules it keeps."""

from __future__ import annotations

import secrets

from .records import Call, Problem, Record, Records, Reply, apply, checked, forget, page

TEXTS = ("name", "description", "fingerprint", "email", "phone", "nick", "preferences")
SHORTEST_FINGERPRINT = 17


def list_contacts(records: Records, call: Call) -> Reply:
    return page(records.owned(records.contacts, call.account), call)


def fetch_contact(records: Records, call: Call, contact_id: str) -> Reply:
    return Reply(records.one(records.contacts, contact_id, call.account, "Contact"))


def create_contact(records: Records, call: Call) -> Reply:
    changes = _changes(call.body)
    _refuse_taken_fingerprint(records, call, changes, "")
    return Reply({"id": _new_contact(records, call, changes)["id"]})


def ensure_contact(records: Records, call: Call) -> Reply:
    return Reply({"id": ensured(records, call, call.body)["id"]})


def update_contact(records: Records, call: Call, contact_id: str) -> Reply:
    contact = records.one(records.contacts, contact_id, call.account, "Contact")
    changes = _changes(call.body)
    _refuse_taken_fingerprint(records, call, changes, contact_id)
    apply(contact, changes)
    contact["updatedAt"] = records.tick()
    return Reply({"id": contact_id})


def delete_contact(records: Records, call: Call, contact_id: str) -> Reply:
    records.one(records.contacts, contact_id, call.account, "Contact")
    forget(records, contact_id)
    return Reply({"id": contact_id})


def ensured(records: Records, call: Call, body: Record) -> Record:
    """Return the contact of a fingerprint, made if there was none."""
    changes = _changes(body)
    fingerprint = changes.get("fingerprint", "")
    if len(fingerprint) < SHORTEST_FINGERPRINT:
        raise Problem(400, f"fingerprint must have at least {SHORTEST_FINGERPRINT} characters")
    contact = _by_fingerprint(records, call, fingerprint)
    if contact is None:
        return _new_contact(records, call, {**changes, "verifiedAt": records.now()})
    if not contact.get("verifiedAt"):
        raise Problem(500, "The contact is not verified")
    return contact


def _changes(body: Record) -> Record:
    changes = checked(body, texts=TEXTS, objects=("meta",), numbers=("verifiedAt",))
    fingerprint = (changes.pop("fingerprint", None) or "").strip()
    return {**changes, "fingerprint": fingerprint} if fingerprint else changes


def _by_fingerprint(records: Records, call: Call, fingerprint: str) -> Record | None:
    mine = records.owned(records.contacts, call.account)
    return next((contact for contact in mine if contact.get("fingerprint") == fingerprint), None)


def _refuse_taken_fingerprint(records: Records, call: Call, changes: Record, contact_id: str) -> None:
    contact = _by_fingerprint(records, call, changes["fingerprint"]) if "fingerprint" in changes else None
    if contact is not None and contact["id"] != contact_id:
        raise Problem(409, "A contact with this fingerprint exists")


def _new_contact(records: Records, call: Call, changes: Record) -> Record:
    contact = {**records.stamp(), "fingerprint": secrets.token_hex(16)}
    apply(contact, changes)
    records.contacts[contact["id"]] = contact
    records.own(contact, call.account)
    return contact
