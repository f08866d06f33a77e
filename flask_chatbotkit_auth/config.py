"""The configuration: one table of keys, read once, checked once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from .exceptions import ConfigurationError
from .mailbox import parse_mailbox

_log = logging.getLogger("flask_chatbotkit_auth")

DEFAULT_RATE_LIMITS: Mapping[str, str] = {
    "request:email": "5/15minutes",
    "request:ip": "30/hour",
    "verify:email": "20/hour;50/day",
    "verify:ip": "100/hour",
    "request:device": "10/15minutes",
    "verify:device": "20/hour",
    "passkey:ip": "100/hour",
    "change:user": "5/day",
}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text that is not empty")
    return value.strip()


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.strip().lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("give True or False")


def _whole(minimum: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(f"give a whole number of at least {minimum}")
        return value

    return parse


def _duration(minimum: int = 0) -> Callable[[object], timedelta]:
    def parse(value: object) -> timedelta:
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip(), re.ASCII):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9:
            value = timedelta(seconds=value)
        if not isinstance(value, timedelta) or value < timedelta(seconds=minimum):
            raise ValueError(f"give seconds or a timedelta, at least {minimum} seconds")
        return value

    return parse


def _seconds(value: object) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        number = float(value)  # type: ignore[arg-type]  # anything else raises TypeError, answered below
    except TypeError:
        number = 0.0
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number < 3600:
        raise ValueError("give a number of seconds above 0")
    return number


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError("give one of " + ", ".join(f'"{word}"' for word in words))
        return str(value)

    return parse


def _adapter(value: object) -> str:
    kind = _one_of("partner", "user", "contact")(value)
    return "partner" if kind == "user" else kind


def _mailbox(value: object) -> str:
    mailbox = _text(value)
    parse_mailbox(mailbox)
    return mailbox


def _origin(value: object) -> str:
    origin = _text(value).lower().rstrip("/")
    found = re.fullmatch(r"(https?)://([\w.-]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?", origin)
    try:
        scheme, host, port = found.groups() if found else ("", "", None)
        host = host.encode("idna").decode()
    except UnicodeError:
        host = ""
    local = host in ("localhost", "127.0.0.1", "[::1]") or host.endswith(".localhost")
    if not host or (scheme == "http" and not local) or not 0 < int(port or 1) < 65536:
        raise ValueError(
            'give scheme and host of the site, without a path, such as "https://shop.example.com" (http for localhost only)'
        )
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" + (f":{int(port)}" if port and int(port) != usual else "")


def _path(value: object) -> str:
    prefix = _text(value).rstrip("/")
    if not prefix.startswith("/") or "//" in prefix:
        raise ValueError('give a path that begins with a slash and is longer than it, such as "/auth"')
    return prefix


def _origins(value: object) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise ValueError('give a list of origins, such as ["https://app.example.com"]')
    origins = []
    for each in given:
        found = _ORIGIN.fullmatch(each.strip().lower()) if isinstance(each, str) else None
        if found is None:
            if isinstance(each, str) and not each.strip():
                continue
            raise ValueError(
                f'{each!r} is no origin: give scheme, host and port alone, as in "https://app.example.com"'
            )
        scheme, host, port = found.groups()
        origins.append(f"{scheme}://{host}" + ("" if port in (None, _PORTS[scheme]) else f":{port}"))
    return tuple(origins)


_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?")
_PORTS = {"http": "80", "https": "443"}


def _color(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"#(?:[0-9a-fA-F]{3}){1,2}", value.strip()):
        raise ValueError('give a colour as "#" and three or six hexadecimal digits, such as "#0f766e"')
    return value.strip()


def _count_or_none(value: object) -> int | None:
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    try:
        return _whole(1)(value)
    except ValueError:
        raise ValueError("give a whole number of at least 1, or None for no cap") from None


_NEVER_KEPT = ("_user_id", "_id", "_fresh", "_remember", "_remember_seconds", "csrf_token", "chatbotkit_auth")


def _session_keys(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [key.strip() for key in value.split(",") if key.strip()]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(key, str) and key for key in value):
        raise ValueError("give a tuple of names (in an environment variable: separated by commas)")
    for key in value:
        if key in _NEVER_KEPT or key.startswith("chatbotkit_auth"):
            raise ValueError(f"{key} belongs to the sign-in itself, and a new session must not keep it")
    return tuple(value)


def _rate_limits(value: object) -> dict[str, str | None]:
    cure = (
        f"give a mapping from {', '.join(DEFAULT_RATE_LIMITS)} to a limit such as "
        '"5/15minutes", or to None to switch it off (in an environment variable: as JSON)'
    )
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(cure) from None
    if not isinstance(value, Mapping) or not value.keys() <= DEFAULT_RATE_LIMITS.keys():
        raise ValueError(cure)
    if not all(limit is None or (isinstance(limit, str) and limit) for limit in value.values()):
        raise ValueError(cure)
    return {**DEFAULT_RATE_LIMITS, **value}


def _option(
    key: str,
    parse: Callable[[object], Any],
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
        "parse": parse,
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
    """Every setting of the extension, checked. The table of keys and defaults is this class itself.

    Where an application gives no value, the environment variable of the same name is read, then the default is taken.
    """

    api_secret: str | None = _option(
        "CHATBOTKIT_API_SECRET",
        _text,
        None,
        "The secret key of your ChatBotKit account. It begins with ``sk-``. If this key is not set, three other names "
        "for it are read: ``CHATBOTKIT_API_TOKEN``, ``CBK_API_TOKEN`` and ``CHATBOTKIT_API_KEY``.",
        example='os.environ["CHATBOTKIT_API_SECRET"]',
        secret=True,
        older=("CHATBOTKIT_API_TOKEN", "CBK_API_TOKEN", "CHATBOTKIT_API_KEY"),
    )
    api_url: str = _option(
        "CHATBOTKIT_API_URL",
        _text,
        "https://api.chatbotkit.com",
        "The address of the ChatBotKit API, without a path. Change it for the sandbox or for a deployment of your own.",
        example='"http://127.0.0.1:8765"',
    )
    api_timeout: float = _option(
        "CHATBOTKIT_API_TIMEOUT",
        _seconds,
        10.0,
        "Seconds to wait for a connection to the API, and then again for the whole answer.",
        example="5",
    )
    api_retries: int = _option(
        "CHATBOTKIT_API_RETRIES",
        _whole(0),
        2,
        "How many more times to send a request that failed for a moment. 0 sends each request once.",
        example="1",
    )
    adapter: str = _option(
        "CHATBOTKIT_AUTH_ADAPTER",
        _adapter,
        "partner",
        'What a user is at ChatBotKit. ``"partner"`` is a sub-account with its own bots and data. ``"contact"`` is a '
        'contact who shares yours. ``"user"`` is another name for ``"partner"``.',
        example='"contact"',
    )
    auto_create: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_CREATE",
        _switch,
        False,
        "Open registration. If on, a person without an account gets one when they sign in (sign up and log in are one "
        "step). If off, only people who have an account can sign in.",
        example="True",
    )
    auto_update: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_UPDATE",
        _switch,
        True,
        "Allow changes to accounts: by people on the account page, by your code, and at sign-in to add what is "
        "missing.",
        example="False",
    )
    auto_delete: bool = _option(
        "CHATBOTKIT_AUTH_AUTO_DELETE",
        _switch,
        False,
        "Allow people to delete their account on the account page. The account and everything in it is deleted.",
        example="True",
    )
    store_url: str | None = _option(
        "CHATBOTKIT_AUTH_STORE_URL",
        _text,
        None,
        "The database or Redis that keeps codes and sessions. Default: SQLite, in the file ``chatbotkit_auth.db`` of "
        "the instance folder.",
        example='"postgresql+psycopg://shop:password@db.example/shop"',
        secret=True,  # it holds the database's password
    )
    store_pool: int = _option(
        "CHATBOTKIT_AUTH_STORE_POOL",
        _whole(1),
        5,
        "The most connections that one worker process opens to a SQL database.",
        example="10",
    )
    code_length: int = _option(
        "CHATBOTKIT_AUTH_CODE_LENGTH", _whole(1), 6, "The number of characters in a code.", example="8"
    )
    code_alphabet: str = _option(
        "CHATBOTKIT_AUTH_CODE_ALPHABET",
        _text,
        "0123456789",
        "The characters that a code can contain.",
        example='"0123456789abcdef"',
    )
    code_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_CODE_LIFETIME", _duration(30), timedelta(minutes=10), "How long a code works.", example="300"
    )
    code_attempts: int = _option(
        "CHATBOTKIT_AUTH_CODE_ATTEMPTS",
        _whole(1),
        5,
        "How many wrong codes end a sign-in. After that even the right code is refused, and the person starts again.",
        example="3",
    )
    resend_cooldown: timedelta = _option(
        "CHATBOTKIT_AUTH_RESEND_COOLDOWN",
        _duration(),
        timedelta(seconds=30),
        "How long a person waits before they can ask for another code.",
        example="60",
    )
    resend_max: int = _option(
        "CHATBOTKIT_AUTH_RESEND_MAX",
        _whole(0),
        3,
        "How many more codes a person can ask for in one sign-in, after the first.",
        example="5",
    )
    rate_limits: Mapping[str, str | None] = _option(
        "CHATBOTKIT_AUTH_RATE_LIMITS",
        _rate_limits,
        DEFAULT_RATE_LIMITS,
        "The rate limits, in the notation of the *limits* library. Separate several with ``;``. Name only the limits "
        "that you change. ``None`` turns a limit off.",
        example='{"request:ip": "200/hour"}',
    )
    rate_limit_storage_uri: str | None = _option(
        "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI",
        _text,
        None,
        "Where the rate limits are counted, as a URI of the *limits* library. Default: in the store. All workers must "
        "share it.",
        example='"redis://redis.example:6379/1"',
        secret=True,
    )
    unknown_user: str = _option(
        "CHATBOTKIT_AUTH_UNKNOWN_USER",
        _one_of("silent", "mail"),
        "silent",
        'What an address without an account gets while auto create is off. ``"silent"``: no email. ``"mail"``: an '
        "email that says that no account exists. The page is the same for both.",
        example='"mail"',
    )
    special_domains: bool | None = _option(
        "CHATBOTKIT_AUTH_SPECIAL_DOMAINS",
        _switch,
        None,
        "Accept addresses under ``.local``, ``.test``, ``home.arpa``, ``localhost`` and other special domains, which "
        "closed networks use. Default: only in debug mode and in tests.",
        example="True",
    )
    device_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_DEVICE_LIFETIME",
        _duration(),
        timedelta(days=180),
        "How long a browser counts as known after a person signed in from it. 0 sets no device cookie.",
        example="timedelta(days=90)",
    )
    url_prefix: str = _option(
        "CHATBOTKIT_AUTH_URL_PREFIX", _path, "/auth", "The path that all sign-in pages begin with.", example='"/login"'
    )
    openapi: bool = _option(
        "CHATBOTKIT_AUTH_OPENAPI",
        _switch,
        False,
        "Serve a description of the JSON API (OpenAPI 3.1) at ``openapi.json`` under the prefix.",
        example="True",
    )
    trusted_origins: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_TRUSTED_ORIGINS",
        _origins,
        (),
        "Other origins whose pages can send requests here, for a single-page app (SPA) on another host. A list, or "
        "text with commas between.",
        example='["https://app.example.com"]',
    )
    content_security_policy: str | None = _option(
        "CHATBOTKIT_AUTH_CONTENT_SECURITY_POLICY",
        _text,
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
        _text,
        None,
        "Where people go after they sign in (login) without a ``next``: a path in the application, or a full URL. "
        "Default: ``/`` if the application has that route, else the account page.",
        example='"/dashboard"',
    )
    sign_out_redirect: str | None = _option(
        "CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT",
        _text,
        None,
        "Where people go after they sign out (logout): a path in the application, or a full URL. Default: the "
        "sign-in page.",
        example='"/goodbye"',
    )
    audience: str | None = _option(
        "CHATBOTKIT_AUTH_AUDIENCE",
        _text,
        None,
        "The name of the application that sessions belong to. Two applications can share a store and a "
        "``SECRET_KEY``: with different names, a session of one does not open the other. Default: ``app.name``.",
        example='"shop"',
    )
    session_keep: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_SESSION_KEEP",
        _session_keys,
        (),
        "Keys of the Flask session that survive the sign-in, such as a shopping cart. All other keys are cleared.",
        example='["cart"]',
    )
    sessions_max: int | None = _option(
        "CHATBOTKIT_AUTH_SESSIONS_MAX",
        _count_or_none,
        200,
        "The most sessions one account can have. One more ends the oldest. ``None`` sets no limit.",
        example="10",
        takes_none=True,
    )
    fresh: timedelta = _option(
        "CHATBOTKIT_AUTH_FRESH",
        _duration(1),
        timedelta(hours=1),
        "How long a sign-in counts as fresh. A session must be fresh to end other sessions, and for Flask-Login's "
        "``fresh_login_required``.",
        example="timedelta(minutes=15)",
    )
    session_lifetime: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_LIFETIME",
        _duration(60),
        timedelta(days=30),
        "The longest time a session lasts, even if it is used every day.",
        example="timedelta(days=90)",
    )
    session_idle: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_IDLE",
        _duration(60),
        timedelta(days=7),
        "How long a session lasts while it is not used.",
        example="timedelta(days=30)",
    )
    session_check: timedelta = _option(
        "CHATBOTKIT_AUTH_SESSION_CHECK",
        _duration(),
        timedelta(seconds=5),
        "How long a worker can reuse what it has read about a session. A session that was ended elsewhere works here "
        "for this time at most. 0 asks the store at every request.",
        example="0",
    )
    user_refresh: timedelta = _option(
        "CHATBOTKIT_AUTH_USER_REFRESH",
        _duration(),
        timedelta(minutes=15),
        "How often the user is fetched from the API again. 0 fetches at every request.",
        example="timedelta(minutes=5)",
    )
    user_stale: timedelta = _option(
        "CHATBOTKIT_AUTH_USER_STALE",
        _duration(),
        timedelta(days=1),
        "How old the saved user can become while the API cannot be reached. After that, people count as signed out "
        "until the API is back.",
        example="timedelta(hours=4)",
    )
    site_name: str | None = _option(
        "CHATBOTKIT_AUTH_SITE_NAME",
        _text,
        None,
        "The name of your product on pages and in emails. Default: ``SERVER_NAME``, or the application's name in "
        "title case.",
        example='"Corner Shop"',
    )
    profile_picture: bool = _option(
        "CHATBOTKIT_AUTH_PROFILE_PICTURE",
        _switch,
        False,
        "Show a field for the web address of a picture on the account page.",
        example="True",
    )
    remember_choice: bool = _option(
        "CHATBOTKIT_AUTH_REMEMBER_CHOICE",
        _switch,
        False,
        'Show a "Keep me signed in" (remember me) box on the sign-in page. Without the box, people stay signed in.',
        example="True",
    )
    origin: str | None = _option(
        "CHATBOTKIT_AUTH_ORIGIN",
        _origin,
        None,
        "The public address of your site, without a path. Links in emails begin with it. Passkeys, notices and links "
        "need it.",
        example='"https://shop.example.com"',
    )
    notices: bool = _option(
        "CHATBOTKIT_AUTH_NOTICES",
        _switch,
        False,
        "Send an email when somebody signs in from a new browser. Needs ``CHATBOTKIT_AUTH_ORIGIN``.",
        example="True",
    )
    passkeys: bool = _option(
        "CHATBOTKIT_AUTH_PASSKEYS",
        _switch,
        False,
        "Let people sign in with a passkey (WebAuthn). Needs ``CHATBOTKIT_AUTH_ORIGIN`` and the ``[passkeys]`` extra.",
        example="True",
    )
    passkey_rp_id: str | None = _option(
        "CHATBOTKIT_AUTH_PASSKEY_RP_ID",
        _text,
        None,
        "The domain that passkeys belong to: the host of the origin, or a parent domain of it. If you change it, "
        "every passkey stops working. Default: the host of ``CHATBOTKIT_AUTH_ORIGIN``.",
        example='"example.com"',
    )
    passkey_origins: tuple[str, ...] = _option(
        "CHATBOTKIT_AUTH_PASSKEY_ORIGINS",
        _origins,
        (),
        "More origins whose pages can ask for a passkey, each written exactly.",
        example='["https://app.example.com"]',
    )
    passkey_offer: bool = _option(
        "CHATBOTKIT_AUTH_PASSKEY_OFFER",
        _switch,
        True,
        "Offer a passkey to people who signed in with a code, on devices that can create one.",
        example="False",
    )
    email_change: bool = _option(
        "CHATBOTKIT_AUTH_EMAIL_CHANGE",
        _switch,
        False,
        "Whether people can change their email address on the account page. Needs ``CHATBOTKIT_AUTH_AUTO_UPDATE``.",
    )
    app_sessions: bool = _option(
        "CHATBOTKIT_AUTH_APP_SESSIONS",
        _switch,
        False,
        "Whether native apps, command lines and front ends on other origins can sign in, and hold a token and no cookie.",
    )
    events: bool = _option(
        "CHATBOTKIT_AUTH_EVENTS",
        _switch,
        False,
        "Whether the store keeps what happens (sign-ins, refusals, changes), for the account page and for "
        "``flask chatbotkit-auth events``.",
    )
    events_keep: timedelta = _option(
        "CHATBOTKIT_AUTH_EVENTS_KEEP", _duration(60), timedelta(days=90), "How long an event is kept."
    )
    mail_link: bool = _option(
        "CHATBOTKIT_AUTH_MAIL_LINK",
        _switch,
        False,
        "Whether a mail with a code has a link, too, that signs in the browser that asked for it. Needs "
        "``CHATBOTKIT_AUTH_ORIGIN``.",
    )
    mail_tls_verify: bool = _option(
        "CHATBOTKIT_AUTH_MAIL_TLS_VERIFY",
        _switch,
        True,
        "Check the mail server's certificate against its name. Turn it off only for a relay on the same machine.",
        example="False",
    )
    mail_sender: str | None = _option(
        "CHATBOTKIT_AUTH_MAIL_SENDER",
        _mailbox,
        None,
        "The sender of emails: an address, or a name and an address. Default: ``MAIL_DEFAULT_SENDER`` of Flask-Mail.",
        example='"Corner Shop <hello@shop.example>"',
    )
    mail_reply_to: str | None = _option(
        "CHATBOTKIT_AUTH_MAIL_REPLY_TO",
        _mailbox,
        None,
        "The address that receives replies to emails. Default: the sender.",
        example='"help@shop.example"',
    )
    mail_color: str | None = _option(
        "CHATBOTKIT_AUTH_MAIL_COLOR",
        _color,
        None,
        "The colour of your brand in emails. For the pages, set the custom property ``--auth-brand``. Default: none.",
        example='"#0f766e"',
    )
    logo_url: str | None = _option(
        "CHATBOTKIT_AUTH_LOGO_URL",
        _text,
        None,
        "The address of a picture for the top of pages and emails. Default: none.",
        example='"https://shop.example.com/static/logo.png"',
    )

    @classmethod
    def load(cls, values: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
        """Read every key from ``values`` (an ``app.config``) or else from ``environment``.

        A ``CHATBOTKIT_AUTH_`` key that the table does not have, probably a slip of the pen, is logged as a warning.

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
        if config.notices and config.origin is None:
            raise ConfigurationError(
                "CHATBOTKIT_AUTH_NOTICES needs CHATBOTKIT_AUTH_ORIGIN, to link to your site. Set it, for example to "
                '"https://shop.example.com".'
            )
        if config.mail_link and config.origin is None:
            raise ConfigurationError(
                "CHATBOTKIT_AUTH_MAIL_LINK needs CHATBOTKIT_AUTH_ORIGIN, which the link begins with. Set it, for example to "
                '"https://shop.example.com".'
            )
        _check_passkeys(config)
        return config


def _check_passkeys(config: Config) -> None:
    if not config.passkeys:
        return
    if config.origin is None:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_PASSKEYS needs CHATBOTKIT_AUTH_ORIGIN, since passkeys belong to a site. Set it, for example to "
            '"https://shop.example.com".'
        )
    host = (urlsplit(config.origin).hostname or "").rstrip(".")
    domain = config.passkey_rp_id or host
    if not all(_is_within(urlsplit(each).hostname or "", domain) for each in (config.origin, *config.passkey_origins)):
        raise ConfigurationError(
            f"CHATBOTKIT_AUTH_PASSKEY_RP_ID is {domain!r}: it must be the host of CHATBOTKIT_AUTH_ORIGIN and of each of "
            "CHATBOTKIT_AUTH_PASSKEY_ORIGINS, or a parent domain of them."
        )
    if find_spec("webauthn") is None:
        raise ConfigurationError(
            'CHATBOTKIT_AUTH_PASSKEYS needs the webauthn library: pip install "flask-chatbotkit-auth[passkeys]"'
        )


def _is_within(host: str, domain: str) -> bool:
    return host == domain or ("." in domain and host.endswith(f".{domain}"))


def unknown_keys(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each ``CHATBOTKIT_AUTH_`` key in ``values`` that is no setting."""
    known = [each.metadata["key"] for each in fields(Config)]
    strays = [key for key in values if key.startswith("CHATBOTKIT_AUTH_") and key not in known]
    if not strays:
        return []
    from difflib import get_close_matches  # only for a slip of the pen

    sentences = []
    for key in strays:
        near = get_close_matches(key, known, 1, cutoff=0.85)
        hint = f"Did you mean {near[0]}?" if near else "The configuration reference lists the keys that exist."
        sentences.append(f"{key} is not a setting. {hint}")
    return sentences
