"""Where people are sent: by ``next`` to this host and nowhere else, by the configuration within the application."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from flask import current_app, request, session, url_for
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from .forms import text

MAX_LENGTH = 1024
"""Bytes; a longer target is dropped rather than carried in a cookie, which browsers drop above 4 kB."""


def safe_path(target: str | None, host: str) -> str | None:
    """Return ``target`` as a path on this host, or ``None`` when it leads anywhere else (ASVS 5.0, 3.7.2).

    A browser reads a URL more kindly than a parser does: in a path it takes a backslash for a slash,
    and drops tabs and line ends.
    So everything but a plain path is refused, but for a URL that names exactly this host. Halves of characters, which JSON
    can name, fit into no ``Location`` header.

    :param host: the request's host with its port, as the browser knows it.
    """
    if (
        not target
        or len(target.replace("\\", "%5C").encode(errors="replace")) > MAX_LENGTH
        or any(ord(each) <= 32 or ord(each) == 127 or "\ud800" <= each <= "\udfff" for each in target)
    ):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https") or parts.netloc != host:
            return None
        target = parts._replace(scheme="", netloc="").geturl() or "/"
        if target.startswith("?"):
            target = f"/{target}"
    if not target.startswith("/") or target.startswith("//") or "\\" in re.split("[?#]", target, maxsplit=1)[0]:
        return None
    # In a query or a fragment a backslash leads nowhere; an address bar and Flask-Login write it as it is.
    return target.replace("\\", "%5C")


def safe_next() -> str | None:
    """Return where this request wants to go afterwards: the checked ``next`` of its body or else of its query.

    It is a path on this host that a GET can open, for a redirect in a view of your own; ``None`` where there is none.
    """
    target = text("next") or request.args.get("next")
    if not target and current_app.config.get("USE_SESSION_FOR_NEXT"):
        target = session.get("next")  # Flask-Login's own way
    path = safe_path(target, request.host) if isinstance(target, str) else None
    return path if path is None or opens(path) else came_from()


def came_from() -> str | None:
    """Return the page that this request comes from, if it is on this host, and none of the sign-in."""
    path = safe_path(request.referrer, request.host)
    own = url_for("chatbotkit_auth.sign_in").rpartition("/")[0] + "/"
    return path if path is not None and opens(path) and not path.startswith(own) else None


def opens(path: str) -> bool:
    """Return whether a GET of ``path`` may be answered, as far as this application knows.

    :param path: as the browser knows it, or ``"/"`` for the application's own root.
    """
    root = request.script_root
    own = urlsplit(path).path
    if root and own.startswith(f"{root}/"):
        own = own[len(root) :]
    elif root and path != "/":
        return True  # another application's, which knows itself
    adapter = current_app.create_url_adapter(request)
    try:
        if adapter is not None:
            adapter.match(unquote(own), method="GET")
    except MethodNotAllowed:
        return False
    except NotFound:
        return path != "/"
    except (RequestRedirect, HTTPException):
        return True
    return True


def mounted(target: str, root: str) -> str:
    """Return a configured ``target`` as the browser has to know it: a path is the application's own, as its routes are.

    A whole URL leads where it says.

    :param root: the path that the application is mounted at, ``""`` for the whole of its host.
    """
    return root + target if target.startswith("/") and not target.startswith("//") else target
