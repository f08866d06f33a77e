"""The fields of a request: which are allowed, how long they can be, and how they are written into a record."""

from __future__ import annotations

from . import meta
from .calls import Problem, Record
from .records import Records

MAX_BYTES = 191
"""Bytes of UTF-8 that the hosted service stores of a name, an email address, a nick, a fingerprint or a picture."""


def checked(
    body: Record,
    *,
    texts: tuple[str, ...] = (),
    objects: tuple[str, ...] = (),
    numbers: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    unchecked: tuple[str, ...] = (),
) -> Record:
    """Return the fields of ``body``.

    :param texts: names of fields that are texts. ``objects``, ``numbers`` and ``flags`` name fields of those types.
    :param unchecked: names of fields that the caller checks itself. They are not returned.
    :raises Problem: 400: a field has another type, or its name is not listed.
    """
    kinds = [(texts, (str,)), (objects, (dict,)), (numbers, (int, float)), (flags, (bool,))]
    found: Record = {}
    for names, accepted in kinds:
        for name in names:
            # The exact type is compared, since in Python True is also an int.
            if body.get(name) is not None and type(body[name]) not in accepted:
                raise Problem(400, f'"{name}" has the wrong type')
            if name in body:
                found[name] = body[name]
    for name in body:
        if name not in found and name not in unchecked:
            raise Problem(400, f'"{name}" is not allowed')
    return found


def fit(records: Records, changes: Record, names: tuple[str, ...]) -> None:
    """Raise unless every text is short enough for the hosted service.

    :raises Problem: 400: a text is too long.
    """
    for name in names:
        if too_long(records, changes.get(name)):
            raise Problem(400, f'"{name}" length must be less than or equal to {MAX_BYTES} bytes long')


def too_long(records: Records, text: object) -> bool:
    """Return whether a text is too long for a column of the hosted service."""
    return records.byte_limits and isinstance(text, str) and len(text.encode()) > MAX_BYTES


def apply(records: Records, record: Record, changes: Record) -> None:
    """Write fields into a record. None removes a field. ``meta`` is replaced, or merged if it is ``{"$update": …}``."""
    if isinstance(changes.get("meta"), dict):
        try:
            merged = meta.written(record.get("meta"), changes["meta"], knows_update=records.knows_update)
        except meta.ReservedKey as error:
            raise Problem(400, str(error)) from error
        changes = {**changes, "meta": merged}
    for name, value in changes.items():
        if value is None:
            # Absent fields are left out of answers: the API's schema allows no null.
            record.pop(name, None)
        else:
            record[name] = value
