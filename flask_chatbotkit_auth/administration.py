"""``current_auth.admin``: creates, changes and deletes accounts for administrators, jobs and webhooks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from .clock import to_milliseconds
from .identifier import normalize_identifier
from .proxies import running_app
from .sessions import SessionRegistry
from .signals import emit, user_created, user_deleted, user_updated
from .upstream.adapters.base import UserAdapter
from .user import SUSPENDED, User

FIELDS = frozenset(("name", "image", "email", "limits", "meta"))


class Administration:
    """Creates, updates and deletes accounts, with their sessions and signals. Use it as ``current_auth.admin``.

    The switches ``CHATBOTKIT_AUTH_AUTO_…`` do not apply here. There is no other check either, so apply your own rules first.
    """

    def __init__(self, adapter: UserAdapter, registry: SessionRegistry, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._registry = registry
        self._clock = clock

    def create(self, email: str, **fields: Any) -> User:
        """Create an account, so that its owner can sign in.

        :param email: an address, which is normalised.
        :param fields: any of ``name``, ``image``, ``limits`` (of a sub-account) and ``meta``.
        :raises InvalidEmail: it is not an address.
        :raises EmailTaken: the address already has an account.
        :raises TypeError: a field is not one of those.
        :raises APIError: the API could not be reached or refused.
        """
        _check(fields, FIELDS - {"email"})
        user = self._adapter.create(normalize_identifier(email, special_domains=True), **fields)
        emit(user_created, running_app(), user=user)
        return user

    def update(self, user: User | str, **fields: Any) -> User:
        """Change an account, in all its sessions. Other fields stay as they are, and ``meta`` is merged key by key.

        A changed ``email`` ends the sessions that were opened for the old one.

        :param user: the user or its id.
        :param fields: any of ``name``, ``image``, ``email``, ``limits`` (of a sub-account) and ``meta``.
        :returns: the user as it is afterwards.
        :raises EmailTaken: another account has the address.
        :raises TypeError: a field is not one of those.
        :raises NotFound: there is no such account.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was changed, but its sessions show that only after their next refresh.
        """
        _check(fields, FIELDS)
        updated = self._adapter.update(id_of(user), **fields)
        try:
            self._registry.save(updated)
        finally:
            emit(user_updated, running_app(), user=updated, fields=sorted(fields))
        return updated

    def delete(self, user: User | str) -> int:
        """Delete an account and everything in it, permanently, and end its sessions. The ``delete_callback`` is not called.

        :param user: the user or its id.
        :returns: how many sessions have ended.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was deleted, and its sessions end at their next refresh.
        """
        id = id_of(user)
        # The address is needed to end pending codes, also of a person without a session.
        known = user if isinstance(user, User) else self._registry.last_known(id) or self._adapter.get(id)
        self._adapter.delete(id)
        try:
            self._registry.stop_sign_ins(id, known.email if known is not None else "")
            return self._registry.end_all(id, reason="deleted")
        finally:
            emit(user_deleted, running_app(), user_id=id, user=known, reason="deleted")

    def suspend(self, user: User | str) -> User:
        """Suspend an account: nobody can sign in to it or use its sessions until :meth:`resume`.

        Each worker applies this within ``CHATBOTKIT_AUTH_SESSION_CHECK``. The mark is ``meta.suspendedAt``. Another client of
        the API that replaces ``meta`` removes it.
        """
        return self.update(user, meta={SUSPENDED: to_milliseconds(self._clock())})

    def resume(self, user: User | str) -> User:
        """End the suspension of an account. Sessions that have not expired meanwhile work again."""
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
