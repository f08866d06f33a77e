"""Redirect targets: ``next``, which must be on this host, and those of the configuration."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from flask import session, url_for
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from ..proxies import running_app, this_request
from .forms import text

MAX_LENGTH = 1024
"""The most bytes of a target. A longer one is ignored, since it is kept in a cookie, which browsers drop above 4 kB."""


def safe_path(target: str | None, host: str) -> str | None:
    """Return ``target`` as a path on this host, or ``None`` if it leads elsewhere (ASVS 5.0, 3.7.2).

    A browser reads URLs more tolerantly than a parser: in a path it treats a backslash as a slash, and it ignores tabs and
    line ends. So only a plain path and a URL of exactly this host are accepted. Halves of characters, which JSON can
    contain, cannot be written into a ``Location`` header.

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
    # In a query or a fragment a backslash is harmless, and browsers and Flask-Login do not escape it.
    return target.replace("\\", "%5C")


def safe_next() -> str | None:
    """Return the checked ``next`` of this request, from its body or else from its query.

    It is a path on this host that a GET can open, for a redirect in your own view, or ``None``.
    """
    request = this_request()
    target = text("next") or request.args.get("next")
    if not target and running_app().config.get("USE_SESSION_FOR_NEXT"):
        target = session.get("next")  # Flask-Login can keep `next` in the session
    if not isinstance(target, str):
        return None
    path = safe_path(target, request.host)
    return path if path is None or opens(path) else came_from()


def came_from() -> str | None:
    """Return the page that this request comes from, if it is on this host and not a page of the sign-in."""
    request = this_request()
    path = safe_path(request.referrer, request.host)
    own = url_for("chatbotkit_auth.sign_in").rpartition("/")[0] + "/"
    return path if path is not None and opens(path) and not path.startswith(own) else None


def opens(path: str) -> bool:
    """Return whether this application has a route for a GET of ``path``, or cannot know.

    :param path: the path in the browser, or ``"/"`` for the application's own root.
    """
    request = this_request()
    root = request.script_root
    own = urlsplit(path).path
    if root and own.startswith(f"{root}/"):
        own = own[len(root) :]
    elif root and path != "/":
        return True  # it belongs to another application on this host
    adapter = running_app().create_url_adapter(request)
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
    """Return the URL of a configured ``target``. A path is relative to the application's root, and a full URL is unchanged.

    :param root: the path that the application is mounted at, ``""`` for the whole of its host.
    """
    return root + target if target.startswith("/") and not target.startswith("//") else target
