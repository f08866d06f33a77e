"""What a person sent: the fields of a form or of a JSON object, read one way."""

from __future__ import annotations

from typing import Any

from flask import request

from ..login import is_app_request

# A page's `fetch` that says nothing else asks for anything, and reads JSON from there even when something is wrong.
_JSON_ALONE = frozenset(("chatbotkit_auth.session", "chatbotkit_auth.openapi"))


def wants_json() -> bool:
    """Return whether the answer is to be JSON: a JSON request, one that names it before or beside a wildcard, or no page."""
    if request.is_json or request.endpoint in _JSON_ALONE or is_app_request():
        return True
    if "application/json" not in request.environ.get("HTTP_ACCEPT", ""):
        return False  # as a browser's pages say, before anything is parsed
    accept = request.accept_mimetypes
    named = {kind for kind, _quality in accept}
    if "application/json" not in named:
        return False
    json, html = accept["application/json"], accept["text/html"]
    return json > html or (json == html > 0 and "text/html" not in named)


def given(name: str) -> str | None:
    """Return the field ``name`` of the body, or ``None`` where it is missing or no text."""
    if request.is_json:
        value = _json().get(name)
        return value if isinstance(value, str) else None
    return request.form.get(name)


def field(name: str) -> Any:
    """Return the field ``name`` of a JSON body, whatever it is; ``None`` where there is none."""
    return _json().get(name) if request.is_json else None


def text(name: str) -> str:
    """Return the field ``name`` of the body, or ``""`` where it is missing or no text."""
    return given(name) or ""


def remembered() -> bool | None:
    """Return whether the browser is to stay signed in when it is closed; ``None`` where nothing was sent about it."""
    # A box that is not ticked sends nothing: a hidden field before it says so.
    boxes = [_json().get("remember")] if request.is_json else request.form.getlist("remember")
    value = boxes[-1] if boxes else None
    return None if value is None else str(value).strip().lower() not in ("false", "0", "off", "no")


def _json() -> dict[str, Any]:
    try:
        body = request.get_json(silent=True)
    except RecursionError:
        body = None  # nested so deeply that Python gives up reading it: as good as no JSON
    return body if isinstance(body, dict) else {}
