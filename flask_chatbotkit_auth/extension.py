"""``ChatBotKitAuth``: the extension, which builds the parts for an application and registers its hooks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import flask_mail
from flask import Flask
from flask_login import LoginManager

from . import failures, login
from .cli import cli
from .clock import utcnow
from .codes import EmailCodeProvider
from .config import Config
from .exceptions import ConfigurationError
from .hooks import MAPPING, USER, Hooks, by_keyword, by_position
from .keys import secret_keys
from .mail.mailer import Mailer
from .mail.notices import Notices
from .mail.smtp import prepare as prepare_mail
from .ratelimit import FIXED_LIMITS, RateLimiter
from .state import AuthState, current_state
from .stores import Store, open_store
from .upstream.adapters import ContactAdapter, PartnerAdapter, UserAdapter
from .upstream.client import ChatBotKitClient, NoSecret
from .web.around import surround
from .web.endpoints import add_endpoints
from .web.manager import sign_in_manager

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_log = logging.getLogger("flask_chatbotkit_auth")

Callback = TypeVar("Callback", bound=Callable[..., Any])


class ChatBotKitAuth:
    """Passwordless sign-in for Flask applications whose users are ChatBotKit sub-accounts or contacts.

    One object can serve several applications. Parts that you do not pass are built from the configuration of each
    application.

    :param app: the application. With ``None``, call :meth:`init_app` later.
    :param adapter: the user directory, or ``"partner"`` (also ``"user"``) or ``"contact"``.
    :param store: the store of challenges and sessions.
    :param provider: generates the codes.
    :param client: the client of the ChatBotKit API.
    :param login_manager: Flask-Login's manager; by default the application's own, or a new one.
    :param mail: Flask-Mail's object; by default the application's own, or a new one.
    :raises ConfigurationError: as :meth:`init_app`, if an application is passed.
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
        """Read the configuration, and register the pages, the user loader, the error handlers and the commands.

        No connection is opened.

        :raises ConfigurationError: a setting is missing or wrong. The text names it and the cure.
        :raises RuntimeError: the application already has a ``ChatBotKitAuth``.
        """
        if "chatbotkit_auth" in app.extensions:
            raise RuntimeError(
                "This application has a ChatBotKitAuth already. Call init_app once for each application."
            )
        config = Config.load(app.config, os.environ)
        provider = self._provider or _provider(config)
        client = self._client or _client(config, required=not isinstance(self._adapter, UserAdapter))
        adapter = _adapter(self._adapter or config.adapter, client, config)
        _warn_of_switches(app, config, adapter)
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
        login.prepare(app, self._login_manager, current_state, make=sign_in_manager)
        prepare_mail(app, self._mail, os.environ)
        _prepare_csrf(app)
        add_endpoints(app, state)
        surround(app)
        app.cli.add_command(cli)
        app.extensions["chatbotkit_auth"] = state

    # Each of these raises ConfigurationError for a callback that cannot be called as it will be.

    def send_verification_request(self, callback: Callback) -> Callback:
        """Send codes yourself, in place of our email.

        The callback takes any of these keywords: ``identifier`` (the address), ``code``, ``expires_at`` (aware, in UTC),
        ``user`` (the account, if it was looked up, which happens while auto create is off) and ``url`` (a link that signs
        in, if there is one). Raise an exception if the code cannot be sent: the person is told, and can ask for another.

        :raises ConfigurationError: the callback needs another keyword.
        """
        self._hooks.send_verification_request = by_keyword(
            "send_verification_request", callback, "identifier", "code", "expires_at", "user", "url"
        )
        return callback

    def queue_mail(self, callback: Callback) -> Callback:
        """Put our finished emails into a queue of yours: ``callback(message)``, with a Flask-Mail message.

        The message can be pickled, and shows neither the code nor the address when it is printed. Your worker sends it with
        :meth:`current_auth.send_mail() <flask_chatbotkit_auth.state.AuthState.send_mail>`. Raise an exception if the message
        cannot be queued: the person is told, and can ask for another code.
        """
        self._hooks.queue_mail = by_position("queue_mail", callback, "message")
        return callback

    def send_notice(self, callback: Callback) -> Callback:
        """Send notices about an account yourself, in place of our email.

        The callback takes any of these keywords: ``kind`` (``"new_sign_in"``, ``"passkey_added"``,
        ``"passkey_removed"``, ``"email_changed"`` or ``"app_session_added"``), ``user`` and ``facts``, a dictionary with
        ``at`` (aware, in UTC) and further facts, such as ``device``. An exception is logged, and changes nothing.

        :raises ConfigurationError: the callback needs another keyword.
        """
        self._hooks.send_notice = by_keyword("send_notice", callback, "kind", "user", "facts")
        return callback

    def sign_in_callback(self, callback: Callback) -> Callback:
        """Decide who can sign in: ``callback(identifier, user)``, called after the right code.

        To refuse, return ``False`` or a sentence for the person to read, or raise
        :exc:`~flask_chatbotkit_auth.exceptions.SignInDenied` with a sentence. For a person without an account, the user's
        ``id`` is ``""``. If you refuse, no account is created.
        """
        self._hooks.sign_in = by_position("sign_in_callback", callback, "identifier", "user")
        return callback

    def sign_up_callback(self, callback: Callback) -> Callback:
        """Decide who can register: ``callback(identifier)``, called before a code is sent.

        It is called only while auto create is on. Return ``True`` to allow. If it returns anything false, or a sentence, the
        address is treated like an unknown address with auto create off (``CHATBOTKIT_AUTH_UNKNOWN_USER``). A person who has
        an account still gets a code.
        """
        self._hooks.sign_up = by_position("sign_up_callback", callback, "identifier")
        return callback

    def new_user_callback(self, callback: Callback) -> Callback:
        """Set the first fields of a new account: ``callback(identifier)`` returns them, or ``None``.

        Return a mapping with any of ``name``, ``image``, ``limits`` and ``meta``. They are sent in the call that creates the
        account, so that it never exists without them.
        """
        self._hooks.new_user = by_position("new_user_callback", callback, "identifier", returns=MAPPING)
        return callback

    def provision(self, callback: Callback) -> Callback:
        """Prepare a new account: ``callback(user)`` creates what it needs, and returns what goes into ``meta``.

        It runs before the session opens, and over all workers only once at a time for an account. After it has returned, the
        account is marked (``meta.provisionedAt``), and it is not called again. If it raises, the person is told to try
        again in a moment, and needs no new code. It also runs at a request of a signed-in person whose account is not
        marked.
        """
        self._hooks.provision = by_position("provision", callback, "user", returns=MAPPING)
        return callback

    def delete_callback(self, callback: Callback) -> Callback:
        """Decide who can delete their account: ``callback(user)``, called before anything is deleted.

        To refuse, return ``False`` or a sentence for the person to read. Anything else allows the deletion.
        """
        self._hooks.delete = by_position("delete_callback", callback, "user")
        return callback

    def session_callback(self, callback: Callback) -> Callback:
        """Add fields to ``GET /auth/session``: ``callback(session, user)`` changes the dictionary, or returns another."""
        self._hooks.session = by_position("session_callback", callback, "session", "user", returns=MAPPING)
        return callback

    def user_callback(self, callback: Callback) -> Callback:
        """Set ``current_user``: ``callback(user)`` can return your own Flask-Login user.

        It is called at sign-in and at every request, so it must be fast. The ``get_id()`` of your user must return the
        ChatBotKit id. Return ``None`` to keep our user. While ``is_active`` of your user is false, the person counts as
        signed out, but the session is kept and works again afterwards.
        """
        self._hooks.user = by_position("user_callback", callback, "user", returns=USER)
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
        # Not an error yet: migrations, image builds and tests call the factory as well, and do not use the API.
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


def _warn_of_switches(app: Flask, config: Config, adapter: UserAdapter) -> None:
    """Log the switches of the application that an adapter of its own does not follow."""
    for switch in ("auto_create", "auto_update", "auto_delete"):
        key, meant, does = f"CHATBOTKIT_AUTH_{switch.upper()}", getattr(config, switch), getattr(adapter, switch)
        if app.config.get(key) is not None and meant != does:
            _log.warning(
                "%s does not change the adapter that you passed, which has %s=%s. Pass %s=%s to the adapter.",
                key,
                switch,
                does,
                switch,
                meant,
            )


def _default_store_url(app: Flask) -> URL:
    from sqlalchemy.engine import URL

    # Not written as text, since the path may contain a % or a ?.
    return URL.create("sqlite", database=os.path.join(app.instance_path, "chatbotkit_auth.db"))


def _prepare_csrf(app: Flask) -> None:
    # Flask-WTF's own defaults. It checks our forms even if the application does not use it.
    app.config.setdefault("WTF_CSRF_ENABLED", True)
    app.config.setdefault("WTF_CSRF_METHODS", {"POST", "PUT", "PATCH", "DELETE"})
    app.config.setdefault("WTF_CSRF_FIELD_NAME", "csrf_token")
    app.config.setdefault("WTF_CSRF_HEADERS", ["X-CSRFToken", "X-CSRF-Token"])
    app.config.setdefault("WTF_CSRF_SSL_STRICT", True)
