"""What a person sent: the fields of a form or of a JSON object, read one way."""

from __future__ import annotations

from flask import request

from .redirects import safe_path

# A page's `fetch` that says nothing else asks for anything, and reads JSON from there even when something is wrong.
_JSON_ALONE = frozenset(("chatbotkit_auth.session", "chatbotkit_auth.openapi"))


def wants_json() -> bool:
    """Return whether the answer is to be JSON: a JSON request, one that prefers it to HTML, or where there is no page."""
    if request.is_json or request.endpoint in _JSON_ALONE:
        return True
    accept = request.accept_mimetypes
    return bool(accept) and accept["application/json"] > accept["text/html"]


def given(name: str) -> str | None:
    """Return the field ``name`` of the body, or ``None`` where it is missing or no text."""
    if request.is_json:
        try:
            body = request.get_json(silent=True)
        except RecursionError:
            body = None  # nested so deeply that Python gives up reading it: as good as no JSON
        value = body.get(name) if isinstance(body, dict) else None
        return value if isinstance(value, str) else None
    return request.form.get(name)


def text(name: str) -> str:
    """Return the field ``name`` of the body, or ``""`` where it is missing or no text."""
    return given(name) or ""


def remembered() -> bool | None:
    """Return whether the browser is to stay signed in when it is closed; ``None`` where nothing was sent about it."""
    if request.is_json:
        body = request.get_json(silent=True)
        value = body.get("remember") if isinstance(body, dict) else None
    else:
        # A box that is not ticked sends nothing: a hidden field before it says so.
        value = next(reversed(request.form.getlist("remember")), None)
    return None if value is None else str(value).strip().lower() not in ("false", "0", "off", "no")


def next_path() -> str | None:
    """Return the checked ``next`` of the body or else of the query; ``None`` where it leads off this host."""
    return safe_path(text("next") or request.args.get("next"), request.host)
