"""The operations on contacts, with the API's own rules."""

from __future__ import annotations

import hashlib
import json
import secrets

from . import meta
from .calls import Call, Problem, Record, Reply
from .fields import apply, checked, fit
from .records import Records, forget, page

TEXTS = ("name", "description", "fingerprint", "email", "phone", "nick", "preferences")
SHORTEST_FINGERPRINT = 17


def list_contacts(records: Records, call: Call) -> Reply:
    return page(records.owned(records.contacts, call.account), call)


def fetch_contact(records: Records, call: Call, contact_id: str) -> Reply:
    return Reply(meta.shown(records.one(records.contacts, contact_id, call.account, "Contact")))


def create_contact(records: Records, call: Call) -> Reply:
    changes = _changes(records, call.body)
    _refuse_taken_fingerprint(records, call, changes, "")
    return Reply({"id": _new_contact(records, call, changes)["id"]})


def ensure_contact(records: Records, call: Call) -> Reply:
    return Reply({"id": ensured(records, call, call.body)["id"]})


def update_contact(records: Records, call: Call, contact_id: str) -> Reply:
    contact = records.one(records.contacts, contact_id, call.account, "Contact")
    changes = _changes(records, call.body)
    _refuse_taken_fingerprint(records, call, changes, contact_id)
    apply(records, contact, changes)
    contact["updatedAt"] = records.tick()
    return Reply({"id": contact_id})


def delete_contact(records: Records, call: Call, contact_id: str) -> Reply:
    records.one(records.contacts, contact_id, call.account, "Contact")
    forget(records, contact_id)
    return Reply({"id": contact_id})


def ensured(records: Records, call: Call, body: Record) -> Record:
    """Return the contact with a fingerprint. It is created if there is none.

    As on the platform, other requests can run between the look-up and the insert: of several calls at once, all but one get
    409.
    """
    changes = _changes(records, body)
    if body.get("fingerprint") is None:
        # It is not verified, and gets a fingerprint that the platform makes.
        identity = json.dumps([changes.get(name) for name in ("email", "phone", "nick", "name")])
        changes["fingerprint"] = hashlib.sha256(f"ensure:{call.account}:{identity}".encode()).hexdigest()
        changes.pop("verifiedAt", None)
        return _by_fingerprint(records, call, changes["fingerprint"]) or _new_contact(records, call, changes)
    fingerprint = changes.get("fingerprint", "")
    if len(fingerprint) < SHORTEST_FINGERPRINT:
        raise Problem(400, f'"fingerprint" must have at least {SHORTEST_FINGERPRINT} characters')
    contact = _by_fingerprint(records, call, fingerprint)
    if contact is None:
        records.let_others_in()
        _refuse_taken_fingerprint(records, call, changes, "")
        return _new_contact(records, call, {**changes, "verifiedAt": records.now()})
    if not contact.get("verifiedAt"):
        raise Problem(500, "Something went wrong")
    return contact


def _changes(records: Records, body: Record) -> Record:
    changes = checked(body, texts=TEXTS, objects=("meta",), numbers=("verifiedAt",))
    fit(records, changes, ("name", "email", "nick", "fingerprint"))
    if "name" in changes and changes["name"] is None:
        raise Problem(500, "Something went wrong")
    fingerprint = (changes.pop("fingerprint", None) or "").strip()
    return {**changes, "fingerprint": fingerprint} if fingerprint else changes


def _by_fingerprint(records: Records, call: Call, fingerprint: str) -> Record | None:
    own = records.owned(records.contacts, call.account)
    return next((contact for contact in own if contact.get("fingerprint") == fingerprint), None)


def _refuse_taken_fingerprint(records: Records, call: Call, changes: Record, contact_id: str) -> None:
    contact = _by_fingerprint(records, call, changes["fingerprint"]) if "fingerprint" in changes else None
    if contact is not None and contact["id"] != contact_id:
        raise Problem(409, "A contact with this fingerprint exists")


def _new_contact(records: Records, call: Call, changes: Record) -> Record:
    contact = {**records.stamp(), "fingerprint": secrets.token_hex(16)}
    apply(records, contact, changes)
    records.contacts[contact["id"]] = contact
    records.own(contact, call.account)
    return contact
