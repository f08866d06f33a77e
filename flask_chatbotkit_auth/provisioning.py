"""Provisioning: the application prepares an account once, before the person is signed in to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from flask import current_app

from .clock import to_milliseconds
from .exceptions import APIError, NotReady
from .hooks import Hooks
from .keys import keyed_digest, secret_keys
from .sessions import SessionRegistry
from .stores.base import Store
from .upstream.adapters.base import UserAdapter
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")

MARK = "provisionedAt"
"""The key of ``meta`` that tells when an account was prepared, in milliseconds since the epoch."""

_LEASE = timedelta(minutes=2)
"""How long one caller can take. After that another one may try, since the first worker may have been killed."""


class Provisioning:
    """Runs the ``provision`` hook for accounts that have no mark yet, one caller at a time over all workers."""

    def __init__(
        self,
        hooks: Hooks,
        adapter: UserAdapter,
        store: Store,
        registry: SessionRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._hooks = hooks
        self._adapter = adapter
        self._store = store
        self._registry = registry
        self._clock = clock

    def prepared(self, user: User) -> User:
        """Return the user after the hook has returned for them.

        :raises NotReady: the hook failed, or is running for another request. It is called again next time.
        :raises StoreError: the store cannot be reached.
        """
        hook = self._hooks.provision
        if hook is None or user.meta.get(MARK):
            return user
        name, now = _lease_name(user.id), self._clock()
        until = now + _LEASE
        if not self._store.lease(name, now=now, until=until):
            raise NotReady(f"user {user.id} is being prepared by another request")
        try:
            # Another sign-in may have changed the account meanwhile.
            fresh = self._adapter.get(user.id) or user
            if not fresh.meta.get(MARK):
                added = dict(hook(fresh) or {})
                fresh = self._adapter.update(user.id, meta={**added, MARK: to_milliseconds(self._clock())})
            self._registry.save(fresh)
        except APIError as error:
            raise NotReady(f"user {user.id} could not be prepared: {error}") from error
        except NotReady:
            raise
        except Exception as error:
            _log.exception("provision failed for user %s", user.id)
            raise NotReady(f"user {user.id} could not be prepared: {type(error).__name__}") from error
        finally:
            self._store.release(name, until=until)
        return fresh


def _lease_name(user_id: str) -> str:
    keys = secret_keys(current_app.config)
    return f"provision:{keyed_digest(keys[0], 'provision', user_id)}" if keys else f"provision:{user_id}"
