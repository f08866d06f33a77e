"""The fields of a request, read the same way from a form and from a JSON object."""

from __future__ import annotations

from typing import Any

from flask import Request

from ..login import is_app_request
from ..nesting import is_too_deep
from ..proxies import this_request

# A `fetch` without an Accept header asks for anything. These endpoints always answer it with JSON, even errors.
_JSON_ALONE = frozenset(("chatbotkit_auth.session", "chatbotkit_auth.openapi"))


def wants_json() -> bool:
    """Return whether to answer with JSON: to a JSON request, or if ``Accept`` names it with at least the weight of HTML."""
    request = this_request()
    if request.is_json or request.endpoint in _JSON_ALONE or is_app_request():
        return True
    if "application/json" not in request.environ.get("HTTP_ACCEPT", "").lower():
        return False  # this is so for the pages of a browser, and spares parsing the header
    weights: dict[str, float] = {}
    for kind, weight in request.accept_mimetypes:
        name = kind.partition(";")[0].lower()  # parameters, such as a charset, change nothing
        weights[name] = max(weight, weights.get(name, 0))
    json = weights.get("application/json", 0)
    html = weights.get("text/html", max(weights.get("text/*", 0), weights.get("*/*", 0)))
    return json > html or (json == html > 0 and "text/html" not in weights)


def optional_text(name: str) -> str | None:
    """Return the field ``name`` of the body, or ``None`` if it is missing or not a text."""
    request = this_request()
    if request.is_json:
        value = _json(request).get(name)
        return value if isinstance(value, str) else None
    return request.form.get(name)


def field(name: str) -> Any:
    """Return the field ``name`` of a JSON body, of any type, or ``None`` if it is missing."""
    request = this_request()
    return _json(request).get(name) if request.is_json else None


def text(name: str) -> str:
    """Return the field ``name`` of the body, or ``""`` if it is missing or not a text."""
    return optional_text(name) or ""


def remembered() -> bool | None:
    """Return whether the browser should stay signed in after it is closed, or ``None`` if the request does not say."""
    # A checkbox that is not ticked sends nothing, so a hidden field before it sends false.
    request = this_request()
    boxes = [_json(request).get("remember")] if request.is_json else request.form.getlist("remember")
    value = boxes[-1] if boxes else None
    return None if value is None else str(value).strip().lower() not in ("false", "0", "off", "no")


def _json(request: Request) -> dict[str, Any]:
    if is_too_deep(request.get_data()):
        return {}
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        body = None  # too deep from here: treated as invalid JSON
    return body if isinstance(body, dict) else {}
