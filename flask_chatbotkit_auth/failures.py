"""Failures, told to the operator: a log line for every answer of 5xx, a signal, and fields for machines on every line."""

from __future__ import annotations

import logging
import re
import sys
import threading
from datetime import datetime, timedelta
from time import perf_counter

from flask import Flask, current_app, g, got_request_exception, has_request_context, request

from .clock import utcnow
from .exceptions import APIStatusError, ChatBotKitAuthError
from .identifier import MASKED
from .signals import emit, failure

LOGGER = "flask_chatbotkit_auth"

_log = logging.getLogger(LOGGER)

_EVERY = timedelta(minutes=1)
_KINDS = 100
"""How many kinds of failures are told apart; an outage has a few."""

_REQUEST_ID = re.compile(r"[\w.:/=+-]{1,128}", re.ASCII)
_KEY = "chatbotkit_auth_failures"


class Failures:
    """The failures of one application in this process. Each kind is logged at once, then once a minute with a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[object, tuple[datetime, int]] = {}

    def due(self, kind: object) -> int | None:
        """Count one failure. Return how many were held back since the last line, or ``None`` to hold this one back, too."""
        now = utcnow()
        with self._lock:
            since, held = self._kinds.pop(kind, (None, 0))
            due = since is None or not timedelta(0) <= now - since < _EVERY
            while len(self._kinds) >= _KINDS:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[kind] = (now, 0) if due or since is None else (since, held + 1)
        return held if due else None


def prepare(app: Flask) -> None:
    """Count the failures of ``app``, and note when each of its requests began."""
    app.extensions[_KEY] = Failures()
    app.before_request(_begin)
    if not any(isinstance(each, LogFields) for each in _log.filters):
        _log.addFilter(LogFields())


def report(error: ChatBotKitAuthError) -> None:
    """Tell the operator about ``error`` where we answer it with 5xx. Anything else is no failure of ours.

    A second call about the same error within one request does nothing. Every failure is signalled, to the receivers of
    ``failure`` and of Flask's ``got_request_exception``, which error trackers listen to. The log gets one line a minute.
    """
    if error.http_status < 500 or g.get("chatbotkit_auth_failure") is error:
        return
    g.chatbotkit_auth_failure = error
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    _write(app, _kind(error), error.http_status, error)
    emit(failure, app, error=error)
    # Receivers are the application's code, or an error tracker's: none of them may change the answer.
    emit(got_request_exception, app, exception=error)


def report_status(status: int) -> None:
    """Log an answer of 5xx that nothing was reported about, unless an exception is under way, which Flask logs itself."""
    if status >= 500 and g.get("chatbotkit_auth_failure") is None and sys.exc_info()[0] is None:
        _write(current_app._get_current_object(), status, status, "no reason is known")  # type: ignore[attr-defined]


class LogFields(logging.Filter):
    """Adds fields to each line of our logger, for logs that are read by machines.

    ``event`` (a name, or ``None``), ``error_code``, ``user_id``, ``address`` (masked), ``duration`` (seconds since the
    request began) and ``request_id`` (the header ``X-Request-ID``). A field that is not known is ``None``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        fields = {
            "event": None,
            "error_code": next((each.error_code for each in arguments if isinstance(each, ChatBotKitAuthError)), None),
            "address": next((each for each in arguments if isinstance(each, str) and MASKED in each), None),
            **_of_request(),
        }
        for name, value in fields.items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


def _of_request() -> dict[str, object]:
    fields: dict[str, object] = {"user_id": None, "duration": None, "request_id": None}
    if has_request_context():
        session = g.get("chatbotkit_auth_session")
        fields["user_id"] = session.user.id if session is not None else None
        if (began := g.get("chatbotkit_auth_began")) is not None:
            fields["duration"] = round(perf_counter() - began, 4)
        given = request.headers.get("X-Request-ID", "")
        fields["request_id"] = given if _REQUEST_ID.fullmatch(given) else None
    return fields


def _write(app: Flask, kind: object, status: int, reason: object) -> None:
    held = app.extensions[_KEY].due(kind)
    if held is not None:
        more = f" ({held} more like it since the last line)" if held else ""
        # The rule and not the path, which may hold a session's id, or whatever else the client wrote into it.
        rule = request.url_rule if has_request_context() else "a command"
        _log.error("%s answered %s: %s%s", rule, status, reason, more, extra={"event": "failure"})


def _begin() -> None:
    g.chatbotkit_auth_began = perf_counter()


def _kind(error: ChatBotKitAuthError) -> object:
    # The API's own sentence may name a request or an account, and would make each failure a kind of its own.
    if isinstance(error, APIStatusError):
        return type(error), error.status, error.code
    return type(error), str(error)
