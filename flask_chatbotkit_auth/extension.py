"""``ChatBotKitAuth``: the extension itself, which puts the parts together for an application."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import flask_mail
from flask import Flask
from flask_login import LoginManager

from . import failures, login, skew
from .cli import cli
from .clock import utcnow
from .codes import EmailCodeProvider
from .config import Config
from .exceptions import ConfigurationError
from .hooks import Hooks, by_keyword
from .keys import secret_keys
from .mail.mailer import Mailer
from .mail.notices import Notices
from .mail.smtp import prepare as prepare_mail
from .ratelimit import FIXED_LIMITS, RateLimiter
from .state import AuthState, current_state
from .stores import Store, open_store
from .upstream.adapters import ContactAdapter, PartnerAdapter, UserAdapter
from .upstream.client import ChatBotKitClient, NoSecret
from .web.endpoints import add_endpoints
from .web.manager import sign_in_manager

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_log = logging.getLogger("flask_chatbotkit_auth")

Callback = TypeVar("Callback", bound=Callable[..., Any])


class ChatBotKitAuth:
    """Passwordless sign-in for Flask applications whose users are ChatBotKit sub-accounts or contacts.

    One object serves any number of applications. What is not given is made from each application's configuration.

    :param app: the application, or ``None`` to call :meth:`init_app` later.
    :param adapter: the user directory, or ``"partner"`` (also ``"user"``) or ``"contact"``.
    :param store: where challenges and sessions are kept.
    :param provider: makes the codes.
    :param client: the API.
    :param login_manager: Flask-Login's; by default the application's own, or a new one.
    :param mail: Flask-Mail's; by default the application's own, or a new one.
    :raises ConfigurationError: as :meth:`init_app`, where an application is given.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        adapter: UserAdapter | str | None = None,
        store: Store | None = None,
        provider: EmailCodeProvider | None = None,
        client: ChatBotKitClient | None = None,
        login_manager: LoginManager | None = None,
        mail: flask_mail.Mail | None = None,
    ) -> None:
        self._adapter = adapter
        self._store = store
        self._provider = provider
        self._client = client
        self._login_manager = login_manager
        self._mail = mail
        self._hooks = Hooks()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the configuration and register the pages, the session registry and the error pages. Nothing is opened.

        :raises ConfigurationError: a setting is missing or wrong; the text names it and the cure.
        :raises RuntimeError: the application has a ``ChatBotKitAuth`` already.
        """
        if "chatbotkit_auth" in app.extensions:
            raise RuntimeError(
                "This application has a ChatBotKitAuth already. Call init_app once for each application."
            )
        config = Config.load(app.config, os.environ)
        provider = self._provider or _provider(config)
        client = self._client or _client(config, required=not isinstance(self._adapter, UserAdapter))
        adapter = _adapter(self._adapter or config.adapter, client, config)
        store = self._store or open_store(config.store_url or _default_store_url(app), pool=config.store_pool)
        hooks = self._hooks
        mailer = Mailer(config, lambda: hooks.send_verification_request, lambda: hooks.queue_mail, utcnow)
        state = AuthState(
            config=config,
            provider=provider,
            store=store,
            limiter=RateLimiter(
                {**config.rate_limits, **FIXED_LIMITS},
                config.rate_limit_storage_uri or store.limits_storage(),
                lambda: secret_keys(app.config),
            ),
            adapter=adapter,
            optional_client=client,
            mailer=mailer,
            notices=Notices(config, mailer, lambda: hooks.send_notice, utcnow),
            audience=config.audience or app.name,
            clock=utcnow,
            hooks=hooks,
        )
        failures.prepare(app)
        skew.prepare(app)
        login.prepare(app, self._login_manager, current_state, make=sign_in_manager)
        login.guard_cookies(app, current_state)
        prepare_mail(app, self._mail, os.environ)
        _prepare_csrf(app)
        add_endpoints(app, state)
        app.cli.add_command(cli)
        app.extensions["chatbotkit_auth"] = state

    def send_verification_request(self, callback: Callback) -> Callback:
        """Send codes yourself, in place of our email.

        The callback takes any of these keywords: ``identifier`` (the address), ``code``, ``expires_at`` (aware, in UTC),
        ``user`` (the account, if it was looked up, which happens while auto create is off) and ``url`` (a link that signs
        in, if there is one). Raise an exception if the code cannot be sent: the person is told, and can ask for another.

        :raises ConfigurationError: the callback wants something else.
        """
        self._hooks.send_verification_request = by_keyword(
            "send_verification_request", callback, "identifier", "code", "expires_at", "user", "url"
        )
        return callback

    def queue_mail(self, callback: Callback) -> Callback:
        """Put our finished emails into a queue of yours: ``callback(message)``, with a Flask-Mail message.

        The message can be pickled, and shows neither code nor address when it is printed. A job of the application's own
        sends it with :meth:`current_auth.send_mail() <flask_chatbotkit_auth.state.AuthState.send_mail>`. Raise to say that
        it could not be queued: the person is told, and can ask for another code.
        """
        self._hooks.queue_mail = callback
        return callback

    def send_notice(self, callback: Callback) -> Callback:
        """Send notices about an account yourself, in place of our email.

        The callback takes any of these keywords: ``kind`` (``"new_sign_in"``, ``"passkey_added"``,
        ``"passkey_removed"``, ``"email_changed"`` or ``"app_session_added"``), ``user`` and ``facts``, a dictionary with
        ``at`` (aware, in UTC) and what is known, such as ``device``. What it raises is logged, and changes nothing.

        :raises ConfigurationError: the callback wants something else.
        """
        self._hooks.send_notice = by_keyword("send_notice", callback, "kind", "user", "facts")
        return callback

    def sign_in_callback(self, callback: Callback) -> Callback:
        """Decide who can sign in: ``callback(identifier, user)``, called after the right code.

        Return ``False`` to refuse, or a sentence for the person to read, or raise
        :exc:`~flask_chatbotkit_auth.exceptions.SignInDenied` with one. For a person who has no account yet the user's
        ``id`` is ``""``, and refusing makes none.
        """
        self._hooks.sign_in = callback
        return callback

    def sign_up_callback(self, callback: Callback) -> Callback:
        """Decide who can register: ``callback(identifier)``, called before a code is sent.

        It is called only while auto create is on. Return ``False`` and the address is treated as an unknown one is with auto
        create off (``CHATBOTKIT_AUTH_UNKNOWN_USER``). A person who has an account gets a code all the same.
        """
        self._hooks.sign_up = callback
        return callback

    def new_user_callback(self, callback: Callback) -> Callback:
        """Set the first fields of a new account: ``callback(identifier)`` returns them, or ``None``.

        Return a mapping with any of ``name``, ``image``, ``limits`` and ``meta``. They are sent in the one call that makes
        the account, so that it is never without them.
        """
        self._hooks.new_user = callback
        return callback

    def provision(self, callback: Callback) -> Callback:
        """Prepare a new account: ``callback(user)`` creates what it needs, and returns what goes into ``meta``.

        It runs before the session opens, once at a time for each account over all workers. When it has returned, the account
        is marked (``meta.provisionedAt``), and it is not called again. If it raises, the person is told to try again in a
        moment, and needs no new code. It also runs at a request of a person whose account has no mark yet.
        """
        self._hooks.provision = callback
        return callback

    def delete_callback(self, callback: Callback) -> Callback:
        """Decide who can delete their account: ``callback(user)``, called before anything is deleted.

        Return a sentence for the person to read, or ``False``, to refuse. Anything else lets the account be deleted.
        """
        self._hooks.delete = callback
        return callback

    def session_callback(self, callback: Callback) -> Callback:
        """Add fields to ``GET /auth/session``: ``callback(session, user)`` changes the dictionary, or returns another."""
        self._hooks.session = callback
        return callback

    def user_callback(self, callback: Callback) -> Callback:
        """Set ``current_user``: ``callback(user)`` can return a Flask-Login user of the application's own.

        Called at sign-in and at every request; keep it quick. Its ``get_id()`` must be the ChatBotKit id. Return ``None``
        to keep ours. While its ``is_active`` is false the person is suspended: nobody is signed in, though the session
        stays and goes on afterwards.
        """
        self._hooks.user = callback
        return callback


def _provider(config: Config) -> EmailCodeProvider:
    return EmailCodeProvider(
        alphabet=config.code_alphabet,
        length=config.code_length,
        lifetime=config.code_lifetime,
        attempts=config.code_attempts,
    )


def _client(config: Config, *, required: bool) -> ChatBotKitClient | None:
    if config.api_secret is None:
        if not required:
            return None
        # Not refused: migrations, image builds and tests call the factory, too, and call no API.
        _log.error("%s", NoSecret())
    return ChatBotKitClient(config.api_secret, config.api_url, timeout=config.api_timeout, retries=config.api_retries)


def _adapter(adapter: UserAdapter | str, client: ChatBotKitClient | None, config: Config) -> UserAdapter:
    if isinstance(adapter, UserAdapter):
        return adapter
    kinds = {"partner": PartnerAdapter, "user": PartnerAdapter, "contact": ContactAdapter}
    if adapter not in kinds or client is None:
        raise ConfigurationError(f'adapter={adapter!r}: give "partner" (or "user"), "contact" or a UserAdapter.')
    return kinds[adapter](
        client, auto_create=config.auto_create, auto_update=config.auto_update, auto_delete=config.auto_delete
    )


def _default_store_url(app: Flask) -> URL:
    from sqlalchemy.engine import URL

    # Not as text: the path may have a % or a ? in it.
    return URL.create("sqlite", database=os.path.join(app.instance_path, "chatbotkit_auth.db"))


def _prepare_csrf(app: Flask) -> None:
    # Flask-WTF's own defaults, for its check of our forms where the application does not use it itself.
    app.config.setdefault("WTF_CSRF_ENABLED", True)
    app.config.setdefault("WTF_CSRF_METHODS", {"POST", "PUT", "PATCH", "DELETE"})
    app.config.setdefault("WTF_CSRF_FIELD_NAME", "csrf_token")
    app.config.setdefault("WTF_CSRF_HEADERS", ["X-CSRFToken", "X-CSRF-Token"])
    app.config.setdefault("WTF_CSRF_SSL_STRICT", True)
