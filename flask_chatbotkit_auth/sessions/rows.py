"""What the row of a session says: whose it is, whether it was used, and whether the address is still the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ..identifier import same_identifier
from ..stores.base import SessionRecord
from ..user import User

UNUSED = timedelta(milliseconds=1)
"""How far ``seen_at`` is before ``created_at`` while the client has not received its token."""


def shown(record: SessionRecord) -> User:
    """Return the user of a session, with the time at which the address was proved, from the API or else from the session.

    A sign-in writes nothing to a sub-account. So the API does not have this time for one that an administrator or a webhook
    created.
    """
    user = record.user
    proved = record.method in ("code", "link") and record.identifier and same_identifier(record.identifier, user.email)
    if user.email_verified is None and proved:
        return replace(user, email_verified=record.proved_at)
    return user


def unused(record: SessionRecord) -> bool:
    """Return whether the client has never used its token."""
    return record.seen_at < record.created_at


def has_moved(record: SessionRecord, user: User) -> bool:
    """Return whether the account has another address than the one that the session was opened for.

    A session of 0.1 counts as opened for the address in its first snapshot. A session that the application opened itself
    has no address to compare. An account without an address counts as unchanged.
    """
    proved = record.identifier or (record.user.email if record.method is None else None)
    return bool(proved and user.email and user.email != proved and not same_identifier(user.email, proved))
