"""What an administrator, a job or a webhook does with accounts, whatever the switches say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import current_app

from .clock import to_milliseconds
from .identifier import normalize_identifier
from .sessions import SessionRegistry
from .signals import emit, user_created, user_deleted, user_updated
from .upstream.adapters.base import UserAdapter
from .user import SUSPENDED, User

FIELDS = frozenset(("name", "image", "email", "limits", "meta"))


class Administration:
    """Reached as ``current_auth.admin``: creates, updates and deletes accounts, with sessions and signals.

    The switches ``CHATBOTKIT_AUTH_AUTO_…`` guard what people do and what happens by itself. They do not apply here. Ask the
    application's own rules first: there is no other check.
    """

    def __init__(self, adapter: UserAdapter, registry: SessionRegistry, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._registry = registry
        self._clock = clock

    def create(self, email: str, **fields: Any) -> User:
        """Make an account, so that its owner can sign in.

        :param email: an address; it is normalised.
        :param fields: any of ``name``, ``image``, ``limits`` (of a sub-account) and ``meta``.
        :raises InvalidEmail: it is not one address.
        :raises EmailTaken: the address has an account already.
        :raises TypeError: a field is not one of those.
        :raises APIError: the API could not be reached or refused.
        """
        _check(fields, FIELDS - {"email"})
        user = self._adapter.create(normalize_identifier(email, special_domains=True), **fields)
        emit(user_created, _app(), user=user)
        return user

    def update(self, user: User | str, **fields: Any) -> User:
        """Change an account; every session of theirs sees it. What is not given stays, and ``meta`` is merged key by key.

        A changed ``email`` ends the sessions that were opened for the old one.

        :param user: the user or its id.
        :param fields: any of ``name``, ``image``, ``email``, ``limits`` (of a sub-account) and ``meta``.
        :returns: the user as it is afterwards.
        :raises EmailTaken: another account has the address.
        :raises TypeError: a field is not one of those.
        :raises NotFound: there is no such account.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was changed, but its sessions do not know before their next refresh.
        """
        _check(fields, FIELDS)
        updated = self._adapter.update(id_of(user), **fields)
        self._registry.save(updated)
        emit(user_updated, _app(), user=updated, fields=sorted(fields))
        return updated

    def delete(self, user: User | str) -> int:
        """Delete an account with all that is in it, for good, and end its sessions. The ``delete_callback`` is not asked.

        :param user: the user or its id.
        :returns: how many sessions have ended.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account is gone; its sessions end at their next refresh.
        """
        id = id_of(user)
        known = user if isinstance(user, User) else self._registry.last_known(id)
        self._adapter.delete(id)
        ended = self._registry.end_all(id, reason="deleted")
        emit(user_deleted, _app(), user_id=id, user=known)
        return ended

    def suspend(self, user: User | str) -> User:
        """Let nobody into an account: not at sign-in, and not in the sessions that it has. See :meth:`resume`.

        Each worker knows within ``CHATBOTKIT_AUTH_SESSION_CHECK``. The mark is ``meta.suspendedAt``: a client of the API that
        writes ``meta`` whole lifts it.
        """
        return self.update(user, meta={SUSPENDED: to_milliseconds(self._clock())})

    def resume(self, user: User | str) -> User:
        """Let a suspended person in again. Sessions that have not ended meanwhile go on."""
        return self.update(user, meta={SUSPENDED: None})


def id_of(user: object) -> str:
    """Return the id of a user, of ``current_user`` or of an application's own user, or the id itself.

    :raises ValueError: nobody is signed in.
    """
    id = user if isinstance(user, str) else user.get_id()  # type: ignore[attr-defined]  # as Flask-Login's users have
    if id is None:
        raise ValueError("nobody is signed in: this needs a user, or the id of one")
    return str(id)


def _check(fields: dict[str, Any], known: frozenset[str]) -> None:
    strange = fields.keys() - known
    if strange:
        raise TypeError(f"an account has no field {sorted(strange)[0]!r}; there are {', '.join(sorted(known))}")


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]
