"""One request to the API and its answer: sent over a pooled connection, bounded in time and size, with typed errors."""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
from collections.abc import Callable, Generator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import requests
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ReadTimeoutError

from ..exceptions import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeout,
    Conflict,
    LimitsReached,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    TooManyRequests,
)
from ..nesting import is_too_deep
from .connections import Answer, Session, mask_addresses

MAX_ANSWER = 16 * 1024 * 1024
MAX_LINE = 1024 * 1024

RATE_WINDOW = 60.0
"""The window of the API's rate limits, in seconds. The API sends no ``Retry-After``."""

NO_API = "answered HTML, not JSON: is CHATBOTKIT_API_URL the address of a ChatBotKit API?"
_STATUS_ERRORS = {401: NotAuthenticated, 403: NotAuthorized, 404: NotFound, 409: Conflict}
_RATE = re.compile(r"\brate/")
_T = TypeVar("_T")


class Failure(NamedTuple):
    """The result of a failed attempt: the exception to raise, and the seconds that the API asks to wait.

    It is returned and not raised: an exception that is raised while an exception of requests is handled keeps that one as its
    context, whose text shows the query.
    """

    error: APIError
    retry_after: float | None = None


class Transport:
    """Sends requests to one origin. Each thread and each process has its own connections.

    :param prefix: the URL that API paths are appended to.
    :param secret: the API secret, which is removed from the texts of exceptions.
    :param timeout: seconds to wait for a connection, and then for the whole answer.
    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(self, prefix: str, secret: str, timeout: float, clock: Callable[[], float]) -> None:
        self._prefix = prefix
        self._secret = secret
        self._timeout = timeout
        self._clock = clock
        self._local = threading.local()
        # Proxies, the CA bundle, and that answers are read as a stream. They are read once: at every call, requests would
        # take as long for this as for the rest of the call, and would let .netrc replace the secret.
        self._environment: dict[str, Any] = dict(
            requests.Session().merge_environment_settings(prefix, {}, True, None, None)
        )

    def attempt(self, request: requests.PreparedRequest, finish: Callable[[requests.Response], _T]) -> _T | Failure:
        """Send a request once and return what ``finish`` makes of a successful answer."""
        try:
            response = self._session().send(
                request, allow_redirects=False, timeout=(self._timeout, self._timeout), **self._environment
            )
            if 200 <= response.status_code < 300:
                return finish(response)
            retry_after = _retry_after(response.headers.get("Retry-After"), self._clock())
            error = self._status_error(response, retry_after)
            if isinstance(error, TooManyRequests) and error.retry_after is None and error.code == "LIMITS_REACHED":
                # The window slides, so a read may pass within a second already. It is tried again as if nothing was asked.
                error.retry_after = RATE_WINDOW
            return Failure(error, retry_after)
        except (OSError, HTTPError) as error:
            return Failure(self._connection_error(error))

    def read_object(self, response: requests.Response) -> dict[str, Any]:
        """Return the JSON object of an answer.

        :raises APIError: the answer is not a JSON object.
        """
        body = _read(response)
        if not body:
            raise ProtocolError  # Without Content-Length, an answer that breaks off in its headers looks like this.
        answer = _parse(body)
        if answer is None:
            raise APIError(f"the ChatBotKit API {_unusable(body)}")
        return answer

    def read_lines(self, response: requests.Response) -> Generator[dict[str, Any], None, None]:
        """Yield the JSON object of each line of an answer as it arrives. The time-out applies to each wait for more.

        :raises APIError: a line is longer than 1 MB or is not a JSON object, or the answer breaks off.
        """
        events = self._events(response)
        next(events)  # Started here, since a generator that was never started would not close the connection.
        return events

    def _events(self, response: requests.Response) -> Generator[dict[str, Any], None, None]:
        # urllib3 before 2.2 cannot return what has arrived so far without waiting for more. http.client can.
        answer: Any = response.raw._original_response
        answer.reader.lift_deadline()
        line = bytearray()
        with response:
            yield {}
            while True:
                data = self._read_some(answer)
                if isinstance(data, Failure):
                    raise data.error
                *ends, rest = data.split(b"\n") if data else (b"", b"")
                for end in ends:
                    event = _parse_line(line + end)
                    line.clear()
                    if event is not None:
                        yield event
                line += rest
                if len(line) > MAX_LINE:
                    raise APIError(f"the ChatBotKit API streamed a line above {MAX_LINE} bytes")
                if not data:
                    break
            answer.close()
            response.raw.release_conn()

    def _read_some(self, answer: Answer) -> bytes | Failure:
        try:
            data = answer.read1(65536)
            if not data and answer.length:
                raise http.client.IncompleteRead(b"")
        except (OSError, http.client.HTTPException) as error:
            return Failure(self._connection_error(error))
        return data

    def _session(self) -> Session:
        # A forked child must not use the connections of its parent: their answers would be mixed up.
        local = self._local
        if getattr(local, "process", None) != os.getpid():
            local.session = Session()
            local.process = os.getpid()
        session: Session = local.session
        return session

    def _status_error(self, response: requests.Response, retry_after: float | None) -> APIStatusError:
        status = response.status_code
        if 300 <= status < 400:
            response.close()
            return APIStatusError(
                status, "", "a redirect, not followed since the secret stays here: correct CHATBOTKIT_API_URL"
            )
        body = _read(response)
        answer = _parse(body)
        if answer is None:
            code, message = "", _unusable(body)
        else:
            code, message = (self._clean(answer.get(key)) for key in ("code", "message"))
        # Only the message tells a rate limit, which lasts a minute, from a limit of the plan.
        if status == 429 and (code != "LIMITS_REACHED" or _RATE.search(message)):
            return TooManyRequests(status, code, message, retry_after)
        return (LimitsReached if status == 429 else _STATUS_ERRORS.get(status, APIStatusError))(status, code, message)

    def _clean(self, text: object) -> str:
        """Return a text of the API for the log: one short line, without the secret and without whole addresses."""
        if not isinstance(text, str):
            return ""
        line = "".join(character if character.isprintable() else " " for character in text[:1000])
        return mask_addresses(line.replace(self._secret, "•••") if self._secret else line)[:200]

    def _connection_error(self, error: Exception) -> APIConnectionError | APITimeout:
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        # The connection was refused or not made in time, the host is unknown, or the proxy cannot be used.
        unsent = isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or isinstance(
            reason, NewConnectionError
        )
        if isinstance(error, (requests.Timeout, ReadTimeoutError, TimeoutError)):
            return APITimeout(f"{self._prefix} did not answer within {self._timeout:g} seconds", maybe_sent=not unsent)
        name = type(reason or error).__name__
        return APIConnectionError(f"{self._prefix} gave no whole answer ({name})", maybe_sent=not unsent)


def _retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for; it is a number or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _read(response: requests.Response) -> bytes:
    """Return the body. The connection limits how long that takes, see :class:`~.connections.Answer`."""
    chunks = []
    size = 0
    with response:
        for chunk in response.raw.stream(65536, decode_content=False):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER:
                raise APIError(f"the ChatBotKit API's answer is larger than {MAX_ANSWER} bytes")
    return b"".join(chunks)


def _parse(body: bytes | bytearray) -> dict[str, Any] | None:
    """Return the JSON object of a text, or ``None`` if it is not a JSON object."""
    if is_too_deep(body):
        return None
    try:
        answer = json.loads(body)
        if re.search(rb"\\u[dD]", body):
            # JavaScript may cut an emoji in half. The half that is left cannot be encoded as UTF-8 later, so it is replaced.
            answer = json.loads(json.dumps(answer, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _parse_line(line: bytes | bytearray) -> dict[str, Any] | None:
    if not line.strip():
        return None
    event = _parse(line)
    if event is None:
        raise APIError("the ChatBotKit API streamed a line that is not a JSON object")
    return event


def _unusable(body: bytes) -> str:
    return NO_API if body.lstrip().startswith(b"<") else "answered something that is not a JSON object"
