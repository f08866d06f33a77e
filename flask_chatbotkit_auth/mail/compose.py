"""Composes a mail from its templates, and gives them their values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import request, template_rendered, url_for
from markupsafe import Markup, escape

from .. import rendering
from ..config import Config
from ..languages import Language
from ..mailbox import Mailbox, parse_mailbox
from ..proxies import running_app
from . import smtp
from .message import Mail


def compose(
    template: str, recipient: str, language: Language, config: Config, now: datetime, context: dict[str, Any]
) -> Mail:
    """Render the three templates of a mail, ``chatbotkit_auth/mail/<template>.subject.txt``, ``.txt`` and ``.html``.

    :raises ValueError: the sender is not a mailbox.
    """
    origin = own_origin(config)
    context = {
        "site_name": site_name(config),
        "logo_url": _absolute(config.logo_url, origin),
        "color": config.mail_color,
        "email": recipient,
        "requested_at": now,
        "sign_in_url": _page_url("sign_in", origin),
        "language": language,
        "_": language.gettext,
        "ngettext": language.ngettext,
        "pgettext": language.pgettext,
        "marked": _marked(language),
        **context,
    }
    app = running_app()
    # Once for all three templates, since an application's context processors may query a database.
    app.update_template_context(context)

    def render(suffix: str) -> str:
        found = rendering.template(f"mail/{template}.{suffix}")
        text: str = found.render(context)
        template_rendered.send(app, template=found, context=context)
        return text

    context["subject"] = " ".join(render("subject.txt").split())
    reply_to = parse_mailbox(config.mail_reply_to) if config.mail_reply_to else None
    return Mail(
        subject=context["subject"],
        recipient=recipient,
        body=render("txt"),
        html=render("html"),
        sender=sender(config),
        reply_to=reply_to,
    )


def site_name(config: Config) -> str:
    """Return the product's name for pages and mails.

    By default it is the host of ``SERVER_NAME`` without its port, or else the application's name in title case.
    """
    if config.site_name:
        return config.site_name
    app = running_app()
    host = str(app.config.get("SERVER_NAME") or "").partition(":")[0].removeprefix("www.")
    if "." in host and not host.replace(".", "").isdecimal():
        return host
    words = app.name.partition(".")[0].replace("_", " ").replace("-", " ").split()
    return " ".join(words).title() or "App"


def sender(config: Config) -> Mailbox:
    """Return the sender of mails.

    :raises ValueError: the setting is not a mailbox. The text says what to write.
    """
    configured: Any = config.mail_sender or smtp.settings().default_sender
    if not configured:
        configured = f"no-reply@{(running_app().config.get('SERVER_NAME') or 'localhost').partition(':')[0]}"
    return parse_mailbox(configured)


def own_origin(config: Config) -> str | None:
    """Return the origin of this site, such as ``https://shop.example``, if the configuration confirms it; else ``None``.

    Without that, the host is what the client wrote into its request, and must not be in a mail. With ``host_matching`` this
    is so even if ``SERVER_NAME`` is set.

    :raises SecurityError: the request is for a host that is not among its ``trusted_hosts``. Werkzeug answers 400.
    """
    if config.origin:
        return config.origin
    app = running_app()
    named = app.config.get("SERVER_NAME") and not app.url_map.host_matching
    # `host` raises for any other name. Flask before 3.1 has not compared it yet.
    if named or (request and request.trusted_hosts and request.host):
        url = url_for("chatbotkit_auth.sign_in", _external=True)
        return "/".join(url.split("/", 3)[:3])
    return None


def page_url(endpoint: str, config: Config) -> str | None:
    """Return the full URL of one of our pages, or ``None`` if the site's own address is not known."""
    return _page_url(endpoint, own_origin(config))


def _page_url(endpoint: str, origin: str | None) -> str | None:
    if origin is None:
        return None
    if request:
        return origin + url_for(f"chatbotkit_auth.{endpoint}")
    app = running_app()
    root = str(app.config["APPLICATION_ROOT"])
    return origin + app.url_map.bind("localhost", script_name=root).build(f"chatbotkit_auth.{endpoint}")


def _absolute(url: str | None, origin: str | None) -> str | None:
    """Return the full URL of a picture, or ``None`` for a path if the site's own address is not known."""
    if url is None or url.startswith(("https://", "http://")):
        return url
    if url.startswith("//"):
        return f"https:{url}"
    if ":" in url.partition("/")[0]:
        return None  # most mail programs do not show pictures from other URLs, such as data:
    return None if origin is None else f"{origin}/{url.lstrip('/')}"


def _marked(language: Language) -> Callable[..., Markup]:
    """Return a ``_`` for HTML. Its values can be markup: ``_("… %(code)s", code="<b>"|safe)``."""

    def marked(message: str, /, **values: object) -> Markup:
        filled = language.gettext(message, **{name: f"\0{name}\0" for name in values})
        html = escape(filled)
        for name, value in values.items():
            html = html.replace(f"\0{name}\0", escape(value))
        return Markup(html)  # noqa: S704  # each part of it is escaped, or was marked as safe by its template

    return marked
