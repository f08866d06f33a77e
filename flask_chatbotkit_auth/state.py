"""What runs for one application: the parts, and what an application does with its users."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import flask_mail
from flask import current_app
from werkzeug.local import LocalProxy

from . import health
from .administration import Administration, id_of
from .codes import EmailCodeProvider
from .config import Config
from .exceptions import ConfigurationError, DeletionDenied, LifecycleDisabled, NotFresh, SignInDenied
from .hooks import Hooks
from .login import enter, is_app_request, is_fresh
from .mail.mailer import Mailer
from .mail.notices import Notices
from .pacing import Pace
from .provisioning import Provisioning
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
"""More than one leaves behind: the challenge, the session and a few counts."""


@dataclass
class AuthState:
    """Reached as ``current_auth`` while a request or an application context is active."""

    config: Config
    provider: EmailCodeProvider
    store: Store
    limiter: RateLimiter
    adapter: UserAdapter
    optional_client: ChatBotKitClient | None
    mailer: Mailer
    notices: Notices
    audience: str
    """Which application sessions are for (``CHATBOTKIT_AUTH_AUDIENCE``)."""

    clock: Callable[[], datetime]
    """Returns the time now, aware, in UTC. Codes, sessions and the refresh of users all use it."""

    trail: Trail | None = None
    """Keeps what has happened, where ``CHATBOTKIT_AUTH_EVENTS`` is on."""

    hooks: Hooks = field(default_factory=Hooks)
    pace: Pace = field(default_factory=Pace)
    registry: SessionRegistry = field(init=False)
    admin: Administration = field(init=False)
    """What an administrator, a job or a webhook does with accounts, whatever the switches say."""

    provisioning: Provisioning = field(init=False)
    _made: int = field(default=0, init=False)
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.registry = SessionRegistry(
            self.store, self.adapter, self.config, self.clock, audience=self.audience, approve=self.approve
        )
        self.admin = Administration(self.adapter, self.registry, self.clock)
        self.provisioning = Provisioning(self.hooks, self.adapter, self.store, self.registry, self.clock)

    def update_user(self, user: User | str, **fields: Any) -> User:
        """Change ``name``, ``image``, ``email``, ``limits`` or ``meta`` of an account; every session of theirs sees it.

        Only what is given is changed; ``meta`` is merged key by key, ``limits`` are replaced.

        :param user: the user or its id.
        :returns: the user as it is afterwards.
        :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_UPDATE`` is off.
        :raises TypeError: a field is not one of those.
        :raises InvalidEmail: that is no address.
        :raises EmailTaken: another account has the address.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account was changed, but its sessions do not know before their next refresh.
        """
        if not self.adapter.auto_update:
            raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_UPDATE")
        return self.admin.update(user, **fields)

    def delete_user(self, user: User | str) -> None:
        """Delete an account with all that is in it, for good, and end its sessions.

        :param user: the user or its id.
        :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_DELETE`` is off.
        :raises DeletionDenied: your ``delete_callback`` refused.
        :raises APIError: the API could not be reached or refused.
        :raises StoreError: the account is gone; its sessions end at their next refresh.
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

    def user(self, user_id: str) -> Any | None:
        """Return a person by id, just as a request of theirs sees them: mapped through your ``user_callback``.

        For jobs, API keys and the like. What a worker has read is used for ``CHATBOTKIT_AUTH_USER_REFRESH``.

        :returns: ``None`` where there is no such account, or where it is suspended.
        :raises APIError: the API could not be reached, and nothing that is young enough is known.
        """
        found = self.registry.user(id_of(user_id))
        return None if found is None else self.present(found)

    def sign_in(self, user: Any, *, remember: bool = True) -> User:
        """Sign this browser in as ``user``, for another way in of the application's own. The old session ends.

        Nobody proves an address here, so that the session is not fresh, and no device is remembered. Your
        ``sign_in_callback`` and ``provision`` hooks run as ever.

        :param user: a user, or the id of one; they are fetched.
        :param remember: whether the browser stays signed in when it is closed.
        :raises LookupError: there is no such account.
        :raises RuntimeError: the request is an app's, with a bearer token; its session goes on.
        :raises SignInDenied: your ``sign_in_callback`` refused, or the account is suspended.
        :raises NotReady: your ``provision`` hook failed.
        :raises APIError: the API could not be reached.
        :raises StoreError: the store cannot be reached.
        """
        token, record = self.adopt(user)
        entering = self.present(record.user)
        enter(self, record.user if entering is None else entering, token, record, remember=remember)
        emit(user_signed_in, _app(), user=record.user, created=False, method="application")
        return record.user

    def adopt(self, user: Any) -> tuple[str, SessionRecord]:
        """Open a session for somebody whom the application vouches for; :meth:`sign_in` gives it to the browser.

        :returns: the token and the row.
        """
        if is_app_request():
            raise RuntimeError(
                "current_auth.sign_in() and login_user() sign a browser in, by a cookie. This request carries a bearer "
                "token, and takes no cookie."
            )
        id = id_of(user)
        # As the API has them now: what the application holds may be a copy from long ago.
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
        """Ask the application whether a person may come in.

        :param user: ``None`` where they have no account yet.
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
        """Return what the account of a new person begins with, as your ``new_user_callback`` says.

        :raises TypeError: it returns a field that it cannot set.
        """
        fields = dict((self.hooks.new_user(identifier) if self.hooks.new_user else None) or {})
        if strange := fields.keys() - {"name", "image", "limits", "meta"}:
            raise TypeError(
                f"new_user_callback returns {sorted(strange)[0]!r}; it can set name, image, limits and meta"
            )
        return fields

    def present(self, user: User) -> Any | None:
        """Return what ``current_user`` is for a user; ``None`` while they are suspended, here or by your own user."""
        if not user.is_active:
            return None
        mapped = self.hooks.user(user) if self.hooks.user else None
        shown = user if mapped is None else mapped
        return shown if shown.is_active else None

    def prepared(self, user: User) -> User:
        """Return the user as they are once your ``provision`` hook has returned for them.

        :raises NotReady: it failed, or runs for another request just now.
        """
        return self.provisioning.prepared(user)

    def require_fresh(self, record: SessionRecord, *, max_age: timedelta | None = None) -> None:
        """Raise unless the holder of a session has proved the address lately.

        :param max_age: how old the proof may be, ``CHATBOTKIT_AUTH_FRESH`` unless given.
        :raises NotFresh: it is older, or there is none.
        """
        if not is_fresh(record, self.clock(), max_age or self.config.fresh):
            raise NotFresh

    def sign_in_event(self, record: SessionRecord) -> Event | None:
        """Return the event of a sign-in, for the transaction that writes its session; ``None`` where none are kept."""
        return None if self.trail is None else self.trail.of_sign_in(record)

    def suspend(self, user: User | str) -> User:
        """Let nobody into an account: not at sign-in, and not in its sessions. See :meth:`resume`."""
        return self.admin.suspend(user)

    def resume(self, user: User | str) -> User:
        """Let a suspended person in again. Sessions that have not ended meanwhile go on."""
        return self.admin.resume(user)

    def sessions(self, user: User | str) -> list[SessionRecord]:
        """Return where the user is signed in, the most recently used session first.

        :param user: the user or its id.
        :raises StoreError: the store cannot be reached.
        """
        return self.registry.list(id_of(user))

    def end_sessions(self, user: User | str, *, keep: str | None = None) -> int:
        """Sign the user out everywhere; each worker knows within ``CHATBOTKIT_AUTH_SESSION_CHECK``.

        :param user: the user or its id.
        :param keep: the id of a session that goes on.
        :returns: how many sessions were ended.
        :raises StoreError: the store cannot be reached; nothing was ended.
        """
        return self.registry.end_all(id_of(user), reason="ended", keep=keep)

    def end_session(self, user: User | str, session_id: str) -> bool:
        """Sign the user out of one browser; another person's session is left alone.

        :param user: the user or its id.
        :param session_id: the id of a session, as :meth:`sessions` tells it.
        :returns: whether the user had such a session.
        :raises StoreError: the store cannot be reached; nothing was ended.
        """
        if not self.registry.end(session_id, user_id=id_of(user)):
            return False
        emit(session_ended, _app(), user_id=id_of(user), reason="ended")
        return True

    def client_for(self, user: User | str) -> ChatBotKitClient:
        """Return a client of the API for what is this user's: one that runs as the sub-account.

        A contact has no account of its own: for one the client is the account's, and the contact's id goes into each call
        as ``contactId``.

        :raises ConfigurationError: the extension was given an adapter of its own and no client.
        """
        return self.client.run_as(id_of(user)) if self.kind == "partner" else self.client

    def browser_token(
        self, user: User | str, *, seconds: int = 900, allowed_routes: list[str] | None = None
    ) -> dict[str, Any]:
        """Return a short-lived token that acts as a sub-account, fit for its own browser.

        It cannot be revoked: not by signing out, and not by ending the session. Keep its life short and its routes few.

        :param seconds: how long it can be used, in whole seconds.
        :param allowed_routes: patterns of the API's routes that it may be used for, such as ``/v1/conversation/*``: ``*``
            stops at a slash, ``**`` does not, ``!`` excludes, and an empty list allows nothing. ``None`` allows all that the
            sub-account may.
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

    def send_mail(self, message: flask_mail.Message) -> None:
        """Hand a mail that ``@auth.queue_mail`` has queued to the mail server, which may take some seconds.

        :raises MailError: the server did not take it. It may be tried again for as long as a code lives.
        """
        self.mailer.send(message)

    @property
    def client(self) -> ChatBotKitClient:
        """The client that acts as the account itself.

        :raises ConfigurationError: the extension was given an adapter of its own and no client.
        """
        if self.optional_client is None:
            raise ConfigurationError("This needs the ChatBotKit API: set CHATBOTKIT_API_SECRET, or pass client=.")
        return self.optional_client

    @property
    def special_domains(self) -> bool:
        """Whether an address may have a domain such as ``.local``: as configured, else in debug mode and in tests."""
        configured = self.config.special_domains
        return (current_app.debug or current_app.testing) if configured is None else configured

    def warn_once(self, sentence: str) -> None:
        """Log a warning about the deployment, once in this process."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            _log.warning(sentence)

    @property
    def kind(self) -> Kind:
        """``"partner"`` or ``"contact"``: what a user is here."""
        return self.adapter.kind

    def check(self, *, deep: bool = False) -> None:
        """Return where sign-in can work; raise where it cannot. For a health view, or a job before traffic is let in.

        :param deep: write as well: a challenge, a wrong and a right code, a session and a count, all taken away again. It
            notices what reading does not, such as a database that is read-only. By default it only reads.
        :raises StoreError: sign-in cannot work; the text says what is wrong.
        """
        health.check(self.store, self.limiter, self.registry, self.clock(), deep=deep)

    def sweep(self) -> None:
        """Forget a few things that are past their lifetime, now and then: called once for each new challenge.

        So a store never grows without end, even where nobody runs ``flask chatbotkit-auth purge``.
        """
        self._made += 1
        if self._made % _SWEEP_EVERY == 0:
            self.purge(limit=_ROWS_OF_A_SIGN_IN * _SWEEP_EVERY)

    def purge(self, *, limit: int = 1000) -> int:
        """Forget at most ``limit`` challenges, sessions and counts that ended an hour ago or more; return how many.

        Where events are kept: as many again of those that are older than ``CHATBOTKIT_AUTH_EVENTS_KEEP``.

        The hour lets a late visitor read "expired" instead of "unknown".

        :raises StoreError: the store cannot be reached.
        """
        forgotten = self.store.purge(now=self.clock() - timedelta(hours=1), limit=limit)
        return forgotten + (self.trail.purge(limit=limit) if self.trail is not None else 0)


def _app() -> object:
    return current_app._get_current_object()  # type: ignore[attr-defined]


def current_state() -> AuthState:
    """Return what :data:`current_auth` stands for. A function that uses it more than once looks it up once, by this.

    :raises RuntimeError: the running application has no ``ChatBotKitAuth``.
    """
    state: AuthState | None = current_app.extensions.get("chatbotkit_auth")
    if state is None:
        raise RuntimeError(
            "This application has no ChatBotKitAuth. Call ChatBotKitAuth(app), or auth.init_app(app) in the factory."
        )
    return state


current_auth: AuthState = cast(AuthState, LocalProxy(current_state))
"""The running application's state, from anywhere in a request or an application context."""
