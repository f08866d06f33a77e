"""``current_auth``: the parts that run for an application, and what it can do with its users."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import flask_mail
from werkzeug.local import LocalProxy

from . import health
from .administration import Administration, id_of
from .codes import EmailCodeProvider
from .config import Config
from .exceptions import ConfigurationError, DeletionDenied, LifecycleDisabled, NotFresh, SignInDenied, StoreError
from .hooks import Hooks
from .login import enter, is_app_request, is_fresh
from .mail.mailer import Mailer
from .mail.notices import Notices
from .pacing import Pace
from .provisioning import Provisioning
from .proxies import running_app
from .ratelimit import RateLimiter
from .sessions import SessionRegistry
from .signals import emit, session_ended, user_signed_in
from .stores.base import SessionRecord, Store
from .upstream.adapters.base import UserAdapter
from .upstream.client import ChatBotKitClient
from .upstream.urls import path_segment
from .user import Kind, User

if TYPE_CHECKING:
    from .events import Trail
    from .stores.events import Event

_log = logging.getLogger("flask_chatbotkit_auth")

_SWEEP_EVERY = 64
_ROWS_OF_A_SIGN_IN = 8
"""At least the number of rows that a sign-in leaves: the challenge, the session and a few counts."""


@dataclass
class AuthState:
    """The state of an application. Use it as ``current_auth``, in a request or an application context."""

    config: Config
    provider: EmailCodeProvider
    store: Store
    limiter: RateLimiter
    adapter: UserAdapter
    optional_client: ChatBotKitClient | None
    mailer: Mailer
    notices: Notices
    audience: str
    """The audience of sessions (``CHATBOTKIT_AUTH_AUDIENCE``)."""

    clock: Callable[[], datetime]
    """Returns the current time, aware, in UTC. Codes, sessions and the refresh of users use it."""

    trail: Trail | None = None
    """The audit trail; ``None`` unless ``CHATBOTKIT_AUTH_EVENTS`` is on."""

    hooks: Hooks = field(default_factory=Hooks)
    pace: Pace = field(default_factory=Pace)
    registry: SessionRegistry = field(init=False)
    admin: Administration = field(init=False)
    """Creates, updates and deletes accounts, for administrators, jobs and webhooks. The switches do not apply."""

    provisioning: Provisioning = field(init=False)
    _made: int = field(default=0, init=False)
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.registry = SessionRegistry(
            self.store, self.adapter, self.config, self.clock, audience=self.audience, approve=self.approve
        )
        self.admin = Administration(self.adapter, self.registry, self.clock)
        self.provisioning = Provisioning(self.hooks, self.adapter, self.store, self.registry, self.clock)

    # Accounts

    def update_user(self, user: User | str, **fields: Any) -> User:
        """Change ``name``, ``image``, ``email``, ``limits`` or ``meta`` of an account, in all its sessions.

        Other fields stay as they are. ``meta`` is merged key by key, and ``limits`` are replaced.

        :param user: the user or its id.
        :returns: the user as it is afterwards.
        :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_UPDATE`` is off.
        :raises TypeError: it is another field.
        :raises InvalidEmail: it is not an address.
        :raises EmailTaken: another account has the address.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was changed, but its sessions show that only after their next refresh.
        """
        if not self.adapter.auto_update:
            raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_UPDATE")
        return self.admin.update(user, **fields)

    def delete_user(self, user: User | str) -> None:
        """Delete an account and everything in it, permanently, and end its sessions.

        :param user: the user or its id.
        :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
        :raises DeletionDenied: your ``delete_callback`` refused.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was deleted, and its sessions end at their next refresh.
        """
        if not self.adapter.auto_delete:
            raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
        known: User | str = user
        if self.hooks.delete is not None:
            found = user if isinstance(user, User) else self.adapter.get(id_of(user))
            answer = self.hooks.delete(found) if found is not None else None
            if answer is False or isinstance(answer, str):
                raise DeletionDenied(answer or None)
            known = found or user
        self.admin.delete(known)

    def suspend(self, user: User | str) -> User:
        """Suspend an account: nobody can sign in to it or use its sessions until :meth:`resume`."""
        return self.admin.suspend(user)

    def resume(self, user: User | str) -> User:
        """End the suspension of an account. Sessions that have not expired meanwhile work again."""
        return self.admin.resume(user)

    def user(self, user_id: str) -> Any | None:
        """Return a user by id, as ``current_user`` would be: passed through your ``user_callback``.

        For jobs, API keys and the like. A worker uses its snapshot for ``CHATBOTKIT_AUTH_USER_REFRESH``.

        :returns: ``None`` if the account does not exist or is suspended.
        :raises APIError: the API could not be reached, and there is no snapshot that is new enough.
        """
        found = self.registry.user(id_of(user_id))
        return None if found is None else self.present(found)

    # Sessions

    def sign_in(self, user: Any, *, remember: bool = True) -> User:
        """Sign this browser in as ``user``, after your application's own way to sign in. The old session ends.

        Nobody has proved an address, so the session is not fresh, and the device does not become known. Your
        ``sign_in_callback`` and ``provision`` hooks are called.

        :param user: a user or its id. The account is fetched.
        :param remember: whether the browser stays signed in after it is closed.
        :raises LookupError: there is no such account.
        :raises RuntimeError: the request is from an app, with a bearer token. Its session is not changed.
        :raises SignInDenied: your ``sign_in_callback`` refused, or the account is suspended.
        :raises NotReady: your ``provision`` hook failed.
        :raises APIError: the API could not be reached.
        :raises StoreError: the store cannot be reached.
        """
        token, record = self.adopt(user)
        entering = self.present(record.user)
        enter(self, record.user if entering is None else entering, token, record, remember=remember)
        emit(user_signed_in, running_app(), user=record.user, created=False, method="application")
        return record.user

    def sessions(self, user: User | str) -> list[SessionRecord]:
        """Return the sessions of a user, the most recently used first.

        :param user: the user or its id.
        :raises StoreError: the store cannot be reached.
        """
        return self.registry.list(id_of(user))

    def end_session(self, user: User | str, session_id: str) -> bool:
        """End one session of a user. A session of another person is not ended.

        :param user: the user or its id.
        :param session_id: the id of a session from :meth:`sessions`.
        :returns: whether the user had such a session.
        :raises StoreError: the store cannot be reached, and nothing was ended.
        """
        if not self.registry.end(session_id, user_id=id_of(user)):
            return False
        emit(session_ended, running_app(), user_id=id_of(user), reason="ended")
        return True

    def end_sessions(self, user: User | str, *, keep: str | None = None) -> int:
        """End all sessions of a user. Each worker applies this within ``CHATBOTKIT_AUTH_SESSION_CHECK``.

        :param user: the user or its id.
        :param keep: the id of a session that is not ended.
        :returns: how many sessions were ended.
        :raises StoreError: the store cannot be reached, and nothing was ended.
        """
        return self.registry.end_all(id_of(user), reason="ended", keep=keep)

    # The ChatBotKit API

    @property
    def client(self) -> ChatBotKitClient:
        """The client that acts as the account itself.

        :raises ConfigurationError: the extension has your own adapter, and no client.
        """
        if self.optional_client is None:
            raise ConfigurationError("This needs the ChatBotKit API: set CHATBOTKIT_API_SECRET, or pass client=.")
        return self.optional_client

    def client_for(self, user: User | str) -> ChatBotKitClient:
        """Return a client of the API for this user, which runs as the sub-account.

        A contact has no account of its own, so its client is that of the account. Pass the contact's id as ``contactId`` in
        each call.

        :raises ConfigurationError: the extension has your own adapter, and no client.
        """
        return self.client.run_as(id_of(user)) if self.kind == "partner" else self.client

    def browser_token(
        self, user: User | str, *, seconds: int = 900, allowed_routes: list[str] | None = None
    ) -> dict[str, Any]:
        """Return a short-lived token that acts as a sub-account, for the browser of its user.

        It cannot be revoked, not even by signing out or ending the session. Use a short lifetime and few routes.

        :param seconds: how long the token works, in whole seconds.
        :param allowed_routes: patterns of the API's routes that the token opens, such as ``/v1/conversation/*``. ``*``
            stops at a slash, ``**`` does not, ``!`` excludes, and an empty list allows nothing. ``None`` allows everything
            that the sub-account can do.
        :returns: ``{"id": …, "token": …, "expiresAt": milliseconds since the epoch}``.
        :raises ConfigurationError: users are contacts, which have no tokens.
        :raises APIError: the API could not be reached or refused.
        """
        if self.kind != "partner":
            raise ConfigurationError('Contacts have no tokens of their own; set CHATBOTKIT_AUTH_ADAPTER to "partner".')
        body: dict[str, Any] = {"durationInSeconds": seconds}
        if allowed_routes is not None:
            body["config"] = {"allowedRoutes": allowed_routes}
        return self.client.post(f"/user/{path_segment(id_of(user))}/session/create", body)

    @property
    def kind(self) -> Kind:
        """The kind of the users: ``"partner"`` or ``"contact"``."""
        return self.adapter.kind

    # Operation

    def send_mail(self, message: flask_mail.Message) -> None:
        """Hand a mail from ``@auth.queue_mail`` to the mail server. This can take some seconds.

        :raises MailError: the server did not accept it. Try again until the code has expired.
        """
        self.mailer.send(message)

    def check(self, *, deep: bool = False) -> None:
        """Raise unless sign-in can work. For a health check, or a job before a deployment gets traffic.

        :param deep: also write a challenge, a wrong and a right code, a session and a count, and delete them again. This
            detects problems that reading does not, such as a read-only database. By default, it only reads.
        :raises StoreError: sign-in cannot work. The text says why.
        """
        health.check(self.store, self.limiter, self.registry, self.clock(), deep=deep)

    def purge(self, *, limit: int = 1000) -> int:
        """Delete at most ``limit`` challenges, sessions and counts that expired at least an hour ago. Return how many.

        If events are kept, also delete at most ``limit`` events that are older than ``CHATBOTKIT_AUTH_EVENTS_KEEP``.

        Because of the hour, a late visitor reads "expired" instead of "unknown".

        :raises StoreError: the store cannot be reached.
        """
        forgotten = self.store.purge(now=self.clock() - timedelta(hours=1), limit=limit)
        return forgotten + (self.trail.purge(limit=limit) if self.trail is not None else 0)

    # What the flows, the pages and Flask-Login's loader ask

    def adopt(self, user: Any) -> tuple[str, SessionRecord]:
        """Open a session for a person whom the application has identified. :meth:`sign_in` gives it to the browser.

        :returns: the token and the row.
        """
        if is_app_request():
            raise RuntimeError(
                "current_auth.sign_in() and login_user() sign a browser in, by a cookie. This request carries a bearer "
                "token, and takes no cookie."
            )
        id = id_of(user)
        # Fetched again, since the object of the application may be an old copy.
        found = self.adapter.get(id)
        if found is None:
            raise LookupError(
                "There is no ChatBotKit account with the id of the user that was to be signed in. Give login_user() or "
                "current_auth.sign_in() a user of current_auth.adapter; for users of your own register a user_loader before "
                "ChatBotKitAuth."
            )
        self.approve(found.email, found)
        found = self.prepared(found)
        if self.present(found) is None:
            raise SignInDenied
        return self.registry.add(found)

    def approve(self, identifier: str, user: User | None) -> None:
        """Ask the ``sign_in_callback`` whether a person can sign in.

        :param user: ``None`` if they have no account yet.
        :raises SignInDenied: it refused.
        """
        if self.hooks.sign_in is None:
            return
        answer = self.hooks.sign_in(identifier, user or User(id="", email=identifier, kind=self.kind))
        if answer is False:
            raise SignInDenied
        if isinstance(answer, str):
            raise SignInDenied(answer)

    def new_user_fields(self, identifier: str) -> dict[str, Any]:
        """Return the first fields of a new account, from your ``new_user_callback``.

        :raises TypeError: it returns another field.
        """
        fields = dict((self.hooks.new_user(identifier) if self.hooks.new_user else None) or {})
        if strange := fields.keys() - {"name", "image", "limits", "meta"}:
            raise TypeError(
                f"new_user_callback returns {sorted(strange)[0]!r}; it can set name, image, limits and meta"
            )
        return fields

    def present(self, user: User) -> Any | None:
        """Return the ``current_user`` for a user, or ``None`` while the account or your own user is inactive."""
        if not user.is_active:
            return None
        mapped = self.hooks.user(user) if self.hooks.user else None
        shown = user if mapped is None else mapped
        return shown if shown.is_active else None

    def prepared(self, user: User) -> User:
        """Return the user after your ``provision`` hook has returned for them.

        :raises NotReady: it has failed, or is running for another request.
        """
        return self.provisioning.prepared(user)

    def require_fresh(self, record: SessionRecord, *, max_age: timedelta | None = None) -> None:
        """Raise unless the holder of a session has recently proved the address.

        :param max_age: how old the proof can be; by default ``CHATBOTKIT_AUTH_FRESH``.
        :raises NotFresh: it is older, or there is none.
        """
        if not is_fresh(record, self.clock(), max_age or self.config.fresh):
            raise NotFresh

    def sign_in_event(self, record: SessionRecord) -> Event | None:
        """Return the event of a sign-in, for the transaction that writes its session, or ``None`` if no events are kept."""
        return None if self.trail is None else self.trail.of_sign_in(record)

    @property
    def special_domains(self) -> bool:
        """Whether addresses under domains such as ``.local`` are accepted; by default in debug mode and in tests."""
        configured = self.config.special_domains
        if configured is not None:
            return configured
        app = running_app()
        return app.debug or app.testing

    def warn_once(self, sentence: str) -> None:
        """Log a warning about the deployment, once in this process."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            _log.warning(sentence)

    def sweep(self) -> None:
        """Delete a few expired records from time to time. It is called for each new challenge.

        So the store does not grow for ever, even if nobody runs ``flask chatbotkit-auth purge``.
        """
        self._made += 1
        if self._made % _SWEEP_EVERY == 0:
            try:
                self.purge(limit=_ROWS_OF_A_SIGN_IN * _SWEEP_EVERY)
            except StoreError as error:
                # The person needs their code, and not this. The next sweep tries again.
                _log.warning("expired records could not be deleted (%s)", error)


def current_state() -> AuthState:
    """Return the object behind :data:`current_auth`. A function that uses it several times calls this once.

    :raises RuntimeError: the running application has no ``ChatBotKitAuth``.
    """
    state: AuthState | None = running_app().extensions.get("chatbotkit_auth")
    if state is None:
        raise RuntimeError(
            "This application has no ChatBotKitAuth. Call ChatBotKitAuth(app), or auth.init_app(app) in the factory."
        )
    return state


current_auth: AuthState = cast(AuthState, LocalProxy(current_state))
"""The state of the running application, in a request or an application context."""
