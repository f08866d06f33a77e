"""The table of settings: every key with its parser, its default and its documentation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from ..exceptions import ConfigurationError
from . import parse
from .checks import check_together
from .parse import DEFAULT_RATE_LIMITS

_log = logging.getLogger("flask_chatbotkit_auth")


def _option(
    key: str,
    parser: Callable[[object], Any],
    default: Any,
    doc: str,
    *,
    example: str = "",
    secret: bool = False,
    takes_none: bool = False,
    older: tuple[str, ...] = (),
) -> Any:
    metadata = {
        "key": key,
        "parse": parser,
        "doc": doc,
        "example": example,
        "secret": secret,
        "takes_none": takes_none,
        "names": (key, *older),
    }
    if isinstance(default, Mapping):
        return field(default_factory=lambda: default, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """Every setting of the extension, checked. This class is the table of keys and defaults.

    Where an application sets no value, the environment variable of the same name is read. Without either, the default holds.
    """

    api_secret: str | None = _option(
        "CHATBOTKIT_API_SECRET",
        parse.text,
        None,
        "The secret key of your ChatBotKit account. It begins with ``sk-``. If this key is not set, three other names "
        "for it are read: ``CHATBOTKIT_API_TOKEN``, ``CBK_API_TOKEN`` and ``CHATBOTKIT_API_KEY``.",
        example='os.environ["CHATBOTKIT_API_SECRET"]',
        secret=True,
        older=("CHATBOTKIT_API_TOKEN", "CBK_API_TOKEN", "CHATBOTKIT_API_KEY"),
    )
    api_url: str = _option(
        "CHATBOTKIT_API_URL",
        parse.text,
        "https://api.chatbotkit.com",
        "The address of the ChatBotKit API, without a path. Change it for the sandbox or for a deployment of your own.",
        example='"http://127.0.0.1:8765"',
    )
    api_timeout: float = _option(
        "CHATBOTKIT_API_TIMEOUT",
        parse.seconds,
        10.0,
        "Seconds to wait for a connection to the API, and then again for the whole answer.",
        example="5",
    )
    api_retries: int = _option(
        "CHATBOTKIT_API_RETRIES",
        parse.whole(0),
        2,
        "How many more times to send a request that failed for a moment. 0 sends each request once.",
        example="1",
    )
    adapter: str = _option(
        "CHATBOTKIT_AUTH_ADAPTER",
        parse.adapter,
        "partner",
        'What a user is at ChatBotKit. ``"partner"`` is a sub-account with its own bots and data. ``"contact"`` is a '
        'contact who shares yours. ``"user"`` is another name for ``"partner"``.',
        example='"contact"',
    )
    auto_create: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_CREATE",
        parse.switch,
        False,
        "Open registration. If on, a person without an account gets one when they sign in (sign up and log in are one "
        "step). If off, only people who have an account can sign in.",
        example="True",
    )
    auto_update: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_UPDATE",
        parse.switch,
        True,
        "Allow changes to accounts: by people on the account page, by your code, and at sign-in to add what is "
        "missing.",
        example="False",
    )
    auto_delete: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_DELETE",
        parse.switch,
        False,
        "Allow people to delete their account on the account page. The account and everything in it is deleted.",
        example="True",
    )
    store_url: str | None = _option(
        "CHATBOTKIT_AUTH_STORE_URL",
        parse.text,
        None,
        "The database or Redis that keeps codes and sessions. Default: SQLite, in the file ``chatbotkit_auth.db`` of "
        "the instance folder.",
        example='"postgresql+psycopg://shop:password@db.example/shop"',
        secret=True,  # it contains the password of the database
    )
    store_pool: int = _option(
        "CHATBOTKIT_AUTH_STORE_POOL",
        parse.whole(1),
        5,
        "The most connections that one worker process opens to a SQL database.",
        example="10",
    )
    code_length: int = _option(
        "CHATBOTKIT_AUTH_CODE_LENGTH", parse.whole(1), 6, "The number of characters in a code.", example="8"
    )
    code_alphabet: str = _option(
        "CHATBOTKIT_AUTH_CODE_ALPHABET",
        parse.text,
        "0123456789",
        "The characters that a code can contain.",
        example='"0123456789abcdef"',
    )
    code_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_CODE_LIFETIME",
        parse.duration(),
        timedelta(minutes=10),
        "How long a code works.",
        example="300",
    )
    code_attempts: int = _option(
        "CHATBOTKIT_AUTH_CODE_ATTEMPTS",
        parse.whole(1),
        5,
        "How many wrong codes end a sign-in. After that even the right code is refused, and the person starts again.",
        example="3",
    )
    resend_cooldown: timedelta = _option(
        "CHATBOTKIT_AUTH_RESEND_COOLDOWN",
        parse.duration(zero=True),
        timedelta(seconds=30),
        "How long a person waits before they can ask for another code.",
        example="60",
    )
    resend_max: int = _option(
        "CHATBOTKIT_AUTH_RESEND_MAX",
        parse.whole(0),
        3,
        "How many more codes a person can ask for in one sign-in, after the first.",
        example="5",
    )
    rate_limits: Mapping[str, str | None] = _option(
        "CHATBOTKIT_AUTH_RATE_LIMITS",
        parse.rate_limits,
        DEFAULT_RATE_LIMITS,
        "The rate limits, in the notation of the *limits* library. Separate several with ``;``. Name only the limits "
        "that you change. ``None`` turns a limit off.",
        example='{"request:ip": "200/hour"}',
    )
    rate_limit_storage_uri: str | None = _option(
        "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI",
        parse.text,
        None,
        "Where the rate limits are counted, as a URI of the *limits* library. Default: in the store. All workers must "
        "share it.",
        example='"redis://redis.example:6379/1"',
        secret=True,
    )
    unknown_user: str = _option(
        "CHATBOTKIT_AUTH_UNKNOWN_USER",
        parse.one_of("silent", "mail"),
        "silent",
        'What an address without an account gets while auto create is off. ``"silent"``: no email. ``"mail"``: an '
        "email that says that no account exists. The page is the same for both.",
        example='"mail"',
    )
    special_domains: bool | None = _option(
        "CHATBOTKIT_AUTH_SPECIAL_DOMAINS",
        parse.switch,
        None,
        "Accept addresses under ``.local``, ``.test``, ``home.arpa``, ``localhost`` and other special domains, which "
        "closed networks use. Default: only in debug mode and in tests.",
        example="True",
    )
    device_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_DEVICE_LIFETIME",
        parse.duration(zero=True),
        timedelta(days=180),
        "How long a browser counts as known after a person signed in from it. 0 sets no device cookie.",
        example="timedelta(days=90)",
    )
    url_prefix: str = _option(
        "CHATBOTKIT_AUTH_URL_PREFIX",
        parse.path,
        "/auth",
        "The path that all sign-in pages begin with.",
        example='"/login"',
    )
    openapi: bool = _option(
        "CHATBOTKIT_AUTH_OPENAPI",
        parse.switch,
        False,
        "Serve a description of the JSON API (OpenAPI 3.1) at ``openapi.json`` under the prefix.",
        example="True",
    )
    trusted_origins: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_TRUSTED_ORIGINS",
        parse.origins,
        (),
        "Other origins whose pages can send requests here, for a single-page app (SPA) on another host. A list, or "
        "text with commas between.",
        example='["https://app.example.com"]',
    )
    content_security_policy: str | None = _option(
        "CHATBOTKIT_AUTH_CONTENT_SECURITY_POLICY",
        parse.text,
        (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: https:; font-src 'self'; "
            "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "The ``Content-Security-Policy`` header of the sign-in pages. ``None`` sends no such header, so that your "
        "application can set its own.",
        example="None",
        takes_none=True,
    )
    sign_in_redirect: str | None = _option(
        "CHATBOTKIT_AUTH_SIGN_IN_REDIRECT",
        parse.text,
        None,
        "Where people go after they sign in (login) without a ``next``: a path in the application, or a full URL. "
        "Default: ``/`` if the application has that route, else the account page.",
        example='"/dashboard"',
    )
    sign_out_redirect: str | None = _option(
        "CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT",
        parse.text,
        None,
        "Where people go after they sign out (logout): a path in the application, or a full URL. Default: the "
        "sign-in page.",
        example='"/goodbye"',
    )
    audience: str | None = _option(
        "CHATBOTKIT_AUTH_AUDIENCE",
        parse.text,
        None,
        "The name of the application that sessions belong to. Two applications can share a store and a "
        "``SECRET_KEY``: with different names, a session of one does not open the other. Default: ``app.name``.",
        example='"shop"',
    )
    session_keep: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_SESSION_KEEP",
        parse.session_keys,
        (),
        "Keys of the Flask session that survive the sign-in, such as a shopping cart. All other keys are cleared.",
        example='["cart"]',
    )
    sessions_max: int | None = _option(
        "CHATBOTKIT_AUTH_SESSIONS_MAX",
        parse.count_or_none,
        200,
        "The most sessions one account can have. One more ends the oldest. ``None`` sets no limit.",
        example="10",
        takes_none=True,
    )
    fresh: timedelta = _option(
        "CHATBOTKIT_AUTH_FRESH",
        parse.duration(),
        timedelta(hours=1),
        "How long a sign-in counts as fresh. A session must be fresh to end other sessions, and for Flask-Login's "
        "``fresh_login_required``.",
        example="timedelta(minutes=15)",
    )
    session_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_LIFETIME",
        parse.duration(),
        timedelta(days=30),
        "The longest time a session lasts, even if it is used every day.",
        example="timedelta(days=90)",
    )
    session_idle: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_IDLE",
        parse.duration(),
        timedelta(days=7),
        "How long a session lasts while it is not used.",
        example="timedelta(days=30)",
    )
    session_check: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_CHECK",
        parse.duration(zero=True),
        timedelta(seconds=5),
        "How long a worker can reuse what it has read about a session. A session that was ended elsewhere works here "
        "for this time at most. 0 asks the store at every request.",
        example="0",
    )
    user_refresh: timedelta = _option(
        "CHATBOTKIT_AUTH_USER_REFRESH",
        parse.duration(zero=True),
        timedelta(minutes=15),
        "How often the user is fetched from the API again. 0 fetches at every request.",
        example="timedelta(minutes=5)",
    )
    user_stale: timedelta = _option(
        "CHATBOTKIT_AUTH_USER_STALE",
        parse.duration(zero=True),
        timedelta(days=1),
        "How old the saved user can become while the API cannot be reached. After that, people count as signed out "
        "until the API is back.",
        example="timedelta(hours=4)",
    )
    site_name: str | None = _option(
        "CHATBOTKIT_AUTH_SITE_NAME",
        parse.text,
        None,
        "The name of your product on pages and in emails. Default: ``SERVER_NAME``, or the application's name in "
        "title case.",
        example='"Corner Shop"',
    )
    profile_picture: bool = _option(
        "CHATBOTKIT_AUTH_PROFILE_PICTURE",
        parse.switch,
        False,
        "Show a field for the web address of a picture on the account page.",
        example="True",
    )
    remember_choice: bool = _option(
        "CHATBOTKIT_AUTH_REMEMBER_CHOICE",
        parse.switch,
        False,
        'Show a "Keep me signed in" (remember me) box on the sign-in page. Without the box, people stay signed in.',
        example="True",
    )
    origin: str | None = _option(
        "CHATBOTKIT_AUTH_ORIGIN",
        parse.origin,
        None,
        "The public address of your site, without a path. Links in emails begin with it. Passkeys, notices and links "
        "need it.",
        example='"https://shop.example.com"',
    )
    notices: bool = _option(
        "CHATBOTKIT_AUTH_NOTICES",
        parse.switch,
        False,
        "Send an email when somebody signs in from a new browser. Needs ``CHATBOTKIT_AUTH_ORIGIN``.",
        example="True",
    )
    passkeys: bool = _option(
        "CHATBOTKIT_AUTH_PASSKEYS",
        parse.switch,
        False,
        "Let people sign in with a passkey (WebAuthn). Needs ``CHATBOTKIT_AUTH_ORIGIN`` and the ``[passkeys]`` extra.",
        example="True",
    )
    passkey_rp_id: str | None = _option(
        "CHATBOTKIT_AUTH_PASSKEY_RP_ID",
        parse.text,
        None,
        "The domain that passkeys belong to: the host of the origin, or a parent domain of it. If you change it, "
        "every passkey stops working. Default: the host of ``CHATBOTKIT_AUTH_ORIGIN``.",
        example='"example.com"',
    )
    passkey_origins: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_PASSKEY_ORIGINS",
        parse.origins,
        (),
        "More origins whose pages can ask for a passkey, each written exactly.",
        example='["https://app.example.com"]',
    )
    passkey_offer: bool = _option(
        "CHATBOTKIT_AUTH_PASSKEY_OFFER",
        parse.switch,
        True,
        "Offer a passkey to people who signed in with a code, on devices that can create one.",
        example="False",
    )
    email_change: bool = _option(
        "CHATBOTKIT_AUTH_EMAIL_CHANGE",
        parse.switch,
        False,
        "Let people change their email address on the account page. Needs ``CHATBOTKIT_AUTH_AUTO_UPDATE``.",
    )
    app_sessions: bool = _option(
        "CHATBOTKIT_AUTH_APP_SESSIONS",
        parse.switch,
        False,
        "Let native apps, command lines and front ends on other origins sign in. They hold a token instead of a cookie.",
    )
    events: bool = _option(
        "CHATBOTKIT_AUTH_EVENTS",
        parse.switch,
        False,
        "Keep what happens (sign-ins, refusals, changes) in the store, for the account page and for "
        "``flask chatbotkit-auth events``.",
    )
    events_keep: timedelta = _option(
        "CHATBOTKIT_AUTH_EVENTS_KEEP", parse.duration(), timedelta(days=90), "How long an event is kept."
    )
    mail_link: bool = _option(
        "CHATBOTKIT_AUTH_MAIL_LINK",
        parse.switch,
        False,
        "Add a link to the email with the code. It signs in only the browser that asked for the code. Needs "
        "``CHATBOTKIT_AUTH_ORIGIN``.",
    )
    mail_tls_verify: bool = _option(
        "CHATBOTKIT_AUTH_MAIL_TLS_VERIFY",
        parse.switch,
        True,
        "Check the mail server's certificate against its name. Turn it off only for a relay on the same machine.",
        example="False",
    )
    mail_sender: str | tuple[str, str] | None = _option(
        "CHATBOTKIT_AUTH_MAIL_SENDER",
        parse.mailbox,
        None,
        "The sender of emails: an address, or a name and an address, as one text or as a pair. Default: "
        "``MAIL_DEFAULT_SENDER`` of Flask-Mail.",
        example='"Corner Shop <hello@shop.example>"',
    )
    mail_reply_to: str | tuple[str, str] | None = _option(
        "CHATBOTKIT_AUTH_MAIL_REPLY_TO",
        parse.mailbox,
        None,
        "The address that receives replies to emails. Default: the sender.",
        example='"help@shop.example"',
    )
    mail_color: str | None = _option(
        "CHATBOTKIT_AUTH_MAIL_COLOR",
        parse.color,
        None,
        "The colour of your brand in emails. For the pages, set the custom property ``--auth-brand``. Default: none.",
        example='"#0f766e"',
    )
    logo_url: str | None = _option(
        "CHATBOTKIT_AUTH_LOGO_URL",
        parse.text,
        None,
        "The address of a picture for the top of pages and emails. Default: none.",
        example='"https://shop.example.com/static/logo.png"',
    )

    @classmethod
    def load(cls, values: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
        """Read every key from ``values`` (an ``app.config``) or else from ``environment``.

        A ``CHATBOTKIT_AUTH_`` key that the table does not have, probably a typo, is logged as a warning.

        :raises ConfigurationError: a value is wrong.
        """
        for sentence in unknown_keys(values):
            _log.warning(sentence)
        settings: dict[str, Any] = {}
        for each in fields(cls):
            key = each.metadata["key"]
            found = [
                (name, value)
                for source in (values, environment)
                for name in each.metadata["names"]
                if (value := source.get(name)) is not None
            ]
            if not found:
                if key in values and each.metadata["takes_none"]:
                    settings[each.name] = None
                continue
            key, value = found[0]
            try:
                settings[each.name] = each.metadata["parse"](value)
            except ValueError as error:
                shown = "" if each.metadata["secret"] else f" is {value!r}"
                raise ConfigurationError(f"{key}{shown}: {error}.") from None
        config = cls(**settings)
        check_together(config)
        return config


def unknown_keys(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence about each ``CHATBOTKIT_AUTH_`` key in ``values`` that is not a setting."""
    known = [each.metadata["key"] for each in fields(Config)]
    strays = [key for key in values if key.startswith("CHATBOTKIT_AUTH_") and key not in known]
    if not strays:
        return []
    from difflib import get_close_matches  # only where there is a typo

    sentences = []
    for key in strays:
        near = get_close_matches(key, known, 1, cutoff=0.85)
        hint = f"Did you mean {near[0]}?" if near else "The configuration reference lists the keys that exist."
        sentences.append(f"{key} is not a setting. {hint}")
    return sentences
