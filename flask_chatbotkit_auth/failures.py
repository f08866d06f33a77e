"""Failures, reported to operators: a log line and a signal for 5xx answers, and machine-readable fields on each log line."""

from __future__ import annotations

import logging
import re
import sys
import threading
from datetime import datetime, timedelta
from time import perf_counter

from flask import Flask, Request, g, got_request_exception, has_request_context, request

from .clock import utcnow
from .exceptions import APIStatusError, ChatBotKitAuthError
from .identifier import MASKED
from .newest import Newest
from .proxies import running_app
from .signals import emit, failure

LOGGER = "flask_chatbotkit_auth"

_log = logging.getLogger(LOGGER)

_EVERY = timedelta(minutes=1)
_KINDS = 100
"""The most kinds of failures that are counted separately. An outage has a few."""

_REQUEST_ID = re.compile(r"[\w.:/=+-]{1,128}", re.ASCII)
_KEY = "chatbotkit_auth_failures"
_BEGAN = "flask_chatbotkit_auth.began"


class Failures:
    """The failures of one application in this process. Each kind is logged at once, then once a minute with a count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: Newest[object, tuple[datetime, int]] = Newest(_KINDS)

    def due(self, kind: object) -> int | None:
        """Count a failure.

        Return how many were not logged since the last line, or ``None`` if this one is not logged either.
        """
        now = utcnow()
        with self._lock:
            since, held = self._kinds.get(kind, (None, 0))
            due = since is None or not timedelta(0) <= now - since < _EVERY
            self._kinds[kind] = (now, 0) if due or since is None else (since, held + 1)
        return held if due else None


def prepare(app: Flask) -> None:
    """Count the failures of ``app``."""
    app.extensions[_KEY] = Failures()
    if not any(isinstance(each, LogFields) for each in _log.filters):
        _log.addFilter(LogFields())


def begin(request: Request) -> None:
    """Note when a request began, for the ``duration`` of its log lines."""
    request.environ[_BEGAN] = perf_counter()


def report(error: ChatBotKitAuthError) -> None:
    """Report ``error`` to the operator if its answer is 5xx.

    A second call with the same error in one request does nothing. Each failure is sent to the receivers of ``failure`` and of
    Flask's ``got_request_exception``, which error trackers use. The log has one line a minute.
    """
    if error.http_status < 500 or g.get("chatbotkit_auth_failure") is error:
        return
    g.chatbotkit_auth_failure = error
    app = running_app()
    _write(app, _kind(error), error.http_status, error)
    emit(failure, app, error=error)
    # Receivers belong to the application or an error tracker. None of them must change the answer.
    emit(got_request_exception, app, exception=error)


def report_status(status: int) -> None:
    """Log a 5xx answer that was not reported, unless there is an unhandled exception, which Flask logs itself."""
    if status >= 500 and g.get("chatbotkit_auth_failure") is None and sys.exc_info()[0] is None:
        _write(running_app(), status, status, "no reason is known")


class LogFields(logging.Filter):
    """Adds fields to each line of our logger, for logs that machines read.

    ``event`` (a name, or ``None``), ``error_code``, ``user_id``, ``address`` (masked), ``duration`` (seconds since the
    request began) and ``request_id`` (the header ``X-Request-ID``). An unknown field is ``None``.
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
        if (began := request.environ.get(_BEGAN)) is not None:
            fields["duration"] = round(perf_counter() - began, 4)
        request_id = request.headers.get("X-Request-ID", "")
        fields["request_id"] = request_id if _REQUEST_ID.fullmatch(request_id) else None
    return fields


def _write(app: Flask, kind: object, status: int, reason: object) -> None:
    held = app.extensions[_KEY].due(kind)
    if held is not None:
        more = f" ({held} more like it since the last line)" if held else ""
        # The rule, not the path: that can contain the id of a session, or anything else that a client wrote into it.
        rule = request.url_rule if has_request_context() else "a command"
        _log.error("%s answered %s: %s%s", rule, status, reason, more, extra={"event": "failure"})


def _kind(error: ChatBotKitAuthError) -> object:
    # The API's sentence can name a request or an account. With it, each failure would be a separate kind.
    if isinstance(error, APIStatusError):
        return type(error), error.status, error.code
    return type(error), str(error)
