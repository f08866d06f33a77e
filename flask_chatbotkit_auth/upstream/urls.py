"""The URLs of the API: where it begins, and how paths, ids and queries are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests

from ..exceptions import APIError, ConfigurationError

HOSTED_HOST = "api.chatbotkit.com"
"""The hosted service, which answers under ``/v1``; every other deployment answers under ``/api/v1``."""

_WORD = re.compile(r"[a-z]{0,15}")
"""A part of a path that is no id."""

PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+")
"""A path that leads to no other one: no empty segment, no ``.`` and no ``..`` (RFC 3986, section 3.3)."""


def path_segment(id: str) -> str:
    """Return an id quoted to stand as one segment of an API path.

    :raises APIError: it is not an id: it is empty, not a text, or would lead to another path (``".."``, ``"../x"``,
        ``"a//b"``).
    """
    try:
        segment = quote(id, safe="")
    except (TypeError, UnicodeEncodeError):
        segment = ""
    # Some servers and proxies unquote before they route, so that a quoted slash is not enough.
    if any(part in ("", ".", "..") for part in re.split("%2F|%5C", segment)):
        raise APIError("what stands for an id is not one: it is empty or would name another path")
    return segment


def route(target: str) -> str:
    """Return a path without its ids and its query, for measurements: there are few such texts."""
    parts = target.partition("?")[0].split("/")
    return "/".join(part if _WORD.fullmatch(part) else "{id}" for part in parts)


def query_string(params: Mapping[str, Any] | None) -> str:
    """Return a query with its question mark, or ``""``: booleans as JSON has them, and ``None`` left out."""
    sent = {key: value for key, value in (params or {}).items() if value is not None}
    query = urlencode({key: json.dumps(value) if isinstance(value, bool) else value for key, value in sent.items()})
    return query and f"?{query}"


def api_prefix(base_url: str) -> str:
    """Return the URL that API paths are appended to, for an origin with or without ``/api/v1``.

    :raises ConfigurationError: it is not the address of an API.
    """
    try:
        parts = urlsplit(base_url)
        host = parts.hostname
        if parts.username is not None or "?" in base_url or "#" in base_url or re.search(r"[\s\\]", base_url):
            raise ValueError
        url = requests.Request("GET", base_url).prepare().url
    except (ValueError, requests.RequestException):
        url = host = None
    if not url or not host or parts.scheme.lower() not in ("http", "https"):
        raise ConfigurationError(
            "CHATBOTKIT_API_URL is not the address of an API: set it to an origin such as https://api.chatbotkit.com"
        )
    if host == HOSTED_HOST:
        return f"https://{HOSTED_HOST}/v1"
    return url.rstrip("/").removesuffix("/v1").removesuffix("/api") + "/api/v1"
