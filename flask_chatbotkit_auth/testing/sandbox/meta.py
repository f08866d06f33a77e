"""How the API writes ``meta``, and which keys of it an answer shows."""

from __future__ import annotations

import re
from typing import Any

_RESERVED = re.compile(r"[\W_]", re.ASCII)


class ReservedKey(ValueError):
    """A key that the API refuses."""


def written(before: Any, sent: dict[str, Any], *, knows_update: bool) -> dict[str, Any]:
    """Return ``meta`` after a write: ``{"$update": …}`` merges key by key, and anything else replaces the whole.

    Keys that begin with neither a letter nor a digit are dropped.

    :param knows_update: whether this deployment merges. One that does not drops the key ``$update`` as it drops any such key.
    :raises ReservedKey: a key begins with an underscore, or ``$update`` is not an object.
    """
    changes = sent.get("$update") if knows_update and "$update" in sent else None
    if changes is None:
        return _kept(sent)
    if not isinstance(changes, dict):
        raise ReservedKey('"meta.$update" must be of type object')
    return {**(before or {}), **_kept(changes)}


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as an answer shows it, without reserved keys of ``meta``."""
    meta = record.get("meta")
    if isinstance(meta, dict) and any(_RESERVED.match(key) for key in meta):
        return {**record, "meta": {key: value for key, value in meta.items() if not _RESERVED.match(key)}}
    return record


def _kept(meta: dict[str, Any]) -> dict[str, Any]:
    for key in meta:
        if key.startswith("_"):
            raise ReservedKey(f'"meta.{key}" is not allowed')
    return {key: value for key, value in meta.items() if not _RESERVED.match(key)}
