"""The fields of a request: which are allowed, how long they may be, and how a record takes them on."""

from __future__ import annotations

from . import meta
from .calls import Problem, Record
from .records import Records

MAX_BYTES = 191
"""Bytes of UTF-8 that the hosted service keeps of a name, an e-mail address, a nick, a fingerprint or a picture."""


def checked(
    body: Record,
    *,
    texts: tuple[str, ...] = (),
    objects: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
) -> Record:
    """Return the fields of ``body``, or refuse wrong types and whatever is not named here.

    :param others: fields that the caller checks itself and that are not returned.
    """
    kinds = [(texts, (str,)), (objects, (dict,)), (numbers, (int, float)), (flags, (bool,))]
    found: Record = {}
    for names, accepted in kinds:
        for name in names:
            # By the exact type, as JSON has it: Python's True is an int too.
            if body.get(name) is not None and type(body[name]) not in accepted:
                raise Problem(400, f'"{name}" has the wrong type')
            if name in body:
                found[name] = body[name]
    for name in body:
        if name not in found and name not in others:
            raise Problem(400, f'"{name}" is not allowed')
    return found


def fit(records: Records, changes: Record, names: tuple[str, ...]) -> None:
    """Refuse texts that the hosted service has no room for.

    :raises Problem: 400.
    """
    for name in names:
        if too_long(records, changes.get(name)):
            raise Problem(400, f'"{name}" length must be less than or equal to {MAX_BYTES} bytes long')


def too_long(records: Records, text: object) -> bool:
    """Return whether a column of the hosted service has no room for a text."""
    return records.byte_limits and isinstance(text, str) and len(text.encode()) > MAX_BYTES


def apply(records: Records, record: Record, changes: Record) -> None:
    """Write fields into a record: None removes one. ``meta`` is replaced, or merged where it is ``{"$update": …}``."""
    if isinstance(changes.get("meta"), dict):
        try:
            merged = meta.written(record.get("meta"), changes["meta"], knows_update=records.knows_update)
        except meta.ReservedKey as error:
            raise Problem(400, str(error)) from error
        changes = {**changes, "meta": merged}
    for name, value in changes.items():
        if value is None:
            # An absent field is left out of answers: the document allows no null.
            record.pop(name, None)
        else:
            record[name] = value
