"""The ChatBotKit API as an application calls it: paths, retries, both names of the sub-account resource, lists."""

from __future__ import annotations

import copy
import itertools
import json as jsonlib
import math
import random
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, TypeVar

import requests
from requests.structures import CaseInsensitiveDict

from ..exceptions import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeout,
    ConfigurationError,
    LimitsReached,
    NotFound,
)
from ..measure import begin, end
from .deployment import Deployment
from .transport import NO_API, Failure, Transport
from .urls import HOSTED_HOST, PATH, api_prefix, query_string, route

USERS_PATHS = ("/user", "/partner/user")
"""Both names of the sub-account resource, the newer one first."""

MAX_PAGES = 1000
_PASSING = (429, 500, 502, 503, 504)
_UNKNOWN_PATH = (404, 405)

# A gateway may answer these before it looks at the path.
_PROVES_NO_PATH = (401, 404, 405, 408, 429)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")
_T = TypeVar("_T")


class NoSecret(ConfigurationError, APIError):
    """The API was called, and no secret is configured.

    It is an :exc:`APIError` as well: an application that has lost its secret treats the API as unreachable, so that people
    stay signed in.
    """

    error_code: str = APIError.error_code
    http_status: int = APIError.http_status

    def __init__(self) -> None:
        super().__init__(
            "CHATBOTKIT_API_SECRET is not set, nor is CHATBOTKIT_API_TOKEN. Make a secret key in the ChatBotKit dashboard "
            "and put it into the configuration or the environment under one of these names. To try things out without one, "
            "run `flask chatbotkit-auth sandbox`."
        )


class ChatBotKitClient:
    """A synchronous client of the ChatBotKit API. One object serves all threads, and processes forked later.

    Every attempt waits at most ``timeout`` seconds for a connection, and as long for the *whole* answer. Reads are tried
    again after connection errors, time-outs and 429, 500, 502, 503 or 504. Writes are tried again only if the request
    certainly did not arrive, or if the caller says that they are idempotent. The pauses between tries (``Retry-After``, or
    else 0.25 s, doubling) add up to at most ``timeout`` seconds. If the API asks for a longer pause, there is no further
    try.

    Proxies and the CA bundle come from the environment, which is read when the client is made (``HTTPS_PROXY``,
    ``NO_PROXY``, ``REQUESTS_CA_BUNDLE``). ``.netrc`` is not read. Redirects are not followed.

    :param secret: the API secret, or a token. With ``None``, each call raises :exc:`ConfigurationError`.
    :param base_url: the origin of the API, with or without ``/api/v1``. The hosted deployment answers under ``/v1``, every
        other one under ``/api/v1``.
    :param timeout: in seconds.
    :param retries: how many more times a call may be tried.
    :param users_path: the name of the sub-account resource, ``"/user"`` or ``"/partner/user"``, if it is known. With
        ``None``, paths that begin with ``/user/`` are tried under both names, and the client remembers the one that works.
    :param sleep: a function that waits for a number of seconds between tries.
    :param clock: returns the time in seconds since the epoch, for a ``Retry-After`` that is a date.
    :raises ConfigurationError: an argument is invalid.

    Every method that calls the API raises :exc:`~flask_chatbotkit_auth.APIError` or one of its subclasses.
    """

    def __init__(
        self,
        secret: str | None,
        base_url: str = f"https://{HOSTED_HOST}",
        timeout: float = 10,
        retries: int = 2,
        users_path: str | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if secret == "":
            raise ConfigurationError("CHATBOTKIT_API_SECRET is empty: set it to the secret of a ChatBotKit account")
        if secret is not None and not _HEADER_VALUE.fullmatch(secret):
            raise ConfigurationError(
                "CHATBOTKIT_API_SECRET holds a space, a line break or a character that no secret has: copy it again"
            )
        if not 0 < timeout < math.inf:
            raise ConfigurationError("CHATBOTKIT_API_TIMEOUT is a number of seconds above 0")
        if retries < 0:
            raise ConfigurationError("CHATBOTKIT_API_RETRIES is a number of tries, 0 or more")
        if users_path is not None and users_path not in USERS_PATHS:
            raise ConfigurationError('users_path is "/user" or "/partner/user"')
        self._prefix = api_prefix(base_url)
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict(
            {
                "Accept": "application/json",
                # Answers are small, so compression would save nothing, and an answer that is not unpacked cannot be a
                # decompression bomb. A compressed answer raises the error for an answer that is not JSON.
                "Accept-Encoding": "identity",
                "User-Agent": "flask-chatbotkit-auth",
            }
        )
        self._ready = secret is not None
        if secret is not None:
            self._headers["Authorization"] = f"Bearer {secret}"
        # The copies that run_as makes share these two.
        self._transport = Transport(self._prefix, secret or "no secret", timeout, clock)
        self.deployment: Deployment = Deployment(users_path)
        """What is known of the deployment."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix}>"

    @property
    def url(self) -> str:
        """The URL that API paths are appended to."""
        return self._prefix

    @property
    def users_path(self) -> str | None:
        """The name of the sub-account resource: ``"/user"``, ``"/partner/user"``, or ``None`` while it is unknown."""
        return self.deployment.users_path

    @property
    def timeout(self) -> float:
        """How long an answer may take, in seconds."""
        return self._timeout

    def wait(self, seconds: float) -> None:
        """Wait, with the function that waits between tries."""
        self._sleep(seconds)

    def run_as(self, user_id: str) -> ChatBotKitClient:
        """Return a copy that acts as a sub-account (``x-runas-user-id``), over the same connections.

        :raises APIError: it is not an id.
        """
        if not _HEADER_VALUE.fullmatch(user_id):
            raise APIError("what stands for a sub-account's id is not one")
        twin = copy.copy(self)
        twin._headers = self._headers.copy()
        twin._headers["x-runas-user-id"] = user_id
        return twin

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, retry: bool = True) -> dict[str, Any]:
        """Send a GET, and return the JSON object that it answers.

        :param path: the path after ``/api/v1``, such as ``"/contact/list"``. Pass ids through
            :func:`~flask_chatbotkit_auth.path_segment`.
        :param params: the query. Nested names are written as in ``meta.email``, and booleans as in JSON. ``None`` is left
            out.
        :param retry: whether the call may be tried again.
        :raises ValueError: it is not a path.
        """
        read = self._transport.read_object
        return self._call(path, lambda path: self._exchange("GET", path + query_string(params), None, retry, read))

    def post(self, path: str, json: Mapping[str, Any] | None = None, *, idempotent: bool = False) -> dict[str, Any]:
        """Send a POST, and return the JSON object that it answers.

        :param path: as in :meth:`get`.
        :param json: the body, by default ``{}``.
        :param idempotent: whether the call may be repeated even if the API may have carried it out already.
        :raises ValueError: it is not a path.
        """
        read = self._transport.read_object
        return self._call(path, lambda path: self._exchange("POST", path, json, idempotent, read))

    def stream(self, path: str, json: Mapping[str, Any] | None = None) -> Generator[dict[str, Any], None, None]:
        """Send a POST that answers JSON lines, such as ``/conversation/complete``, and yield the lines as they arrive.

        The call is made at once, so that its errors are raised here. ``timeout`` applies to each wait for more, not to the
        whole answer. Closing the generator closes the connection.

        :returns: the object of each line, ``{"type": …, "data": …}``.
        :raises ValueError: it is not a path.
        """
        read = self._transport.read_lines
        return self._call(path, lambda path: self._exchange("POST", path, json, False, read, "application/jsonl"))

    def paginate(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, which is fetched page by page."""
        for items in self.pages(path, params):
            yield from items

    def pages(
        self, path: str, params: Mapping[str, Any] | None = None, *, endless: bool = False
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield the pages of a list, each as a list of items. A page that is empty or has no new ``cursor`` is the last one.

        :param endless: read more than 1000 pages.
        :raises APIError: a page is not ``{"items": [{…}, …]}``, or there are more than 1000 pages.
        """
        query = dict(params or {})
        seen = {query.get("cursor")}
        for _ in itertools.count() if endless else range(MAX_PAGES):
            answer = self.get(path, query)
            items = answer.get("items")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise APIError("the ChatBotKit API answered a list whose items are not a list of objects")
            if not items:
                return
            yield items
            cursor = answer.get("cursor")
            if not isinstance(cursor, str) or not cursor or cursor in seen:
                return
            seen.add(cursor)
            query["cursor"] = cursor
        raise APIError(f"the ChatBotKit API's list did not end within {MAX_PAGES} pages: narrow it with a filter")

    def _call(self, path: str, exchange: Callable[[str], _T]) -> _T:
        """Call a path.

        One that is about sub-accounts is tried under both names while it is not known which one exists here.
        """
        if not PATH.fullmatch(path):
            raise ValueError("an API path is like /user/list: pass ids through path_segment, and the query as params")
        if not self._ready:
            raise NoSecret
        if not path.startswith("/user/"):
            return exchange(path)
        if self.users_path:
            return exchange(self.users_path + path.removeprefix("/user"))
        unknown = []
        for name in USERS_PATHS:
            try:
                answer = exchange(name + path.removeprefix("/user"))
            except APIStatusError as error:
                if 400 <= error.status < 500 and error.status not in _PROVES_NO_PATH:
                    self.deployment.users_path = name
                if error.status not in _UNKNOWN_PATH:
                    raise
                unknown.append(error)
            else:
                self.deployment.users_path = name
                return answer
        raise min(unknown, key=lambda error: (error.message == NO_API, not isinstance(error, NotFound)))

    def _exchange(
        self,
        method: str,
        target: str,
        json: Mapping[str, Any] | None,
        repeatable: bool,
        read: Callable[[requests.Response], _T],
        accept: str | None = None,
    ) -> _T:
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._prefix + target
        request.headers = self._headers
        if method == "POST":
            request.body = jsonlib.dumps(json or {}).encode()
            request.headers = self._headers.copy()
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(request.body))
            request.headers["Accept"] = accept or "application/json"
        patience = self._timeout
        pause = 0.25
        tries_left = self._retries
        while True:
            began = begin()
            outcome = self._transport.attempt(request, read)
            error = outcome.error if isinstance(outcome, Failure) else None
            end(began, "api", f"{method} {route(target)}", error)
            if not isinstance(outcome, Failure):
                return outcome
            asked = outcome.retry_after or 0
            if not tries_left or asked > patience or not _may_repeat(outcome.error, repeatable):
                raise outcome.error
            # Without jitter, workers that failed at the same time would try again at the same time.
            wait = max(asked, min(pause * random.uniform(0.5, 1), patience))  # noqa: S311
            tries_left -= 1
            pause *= 2
            patience -= wait
            self._sleep(wait)


def _may_repeat(error: APIError, repeatable: bool) -> bool:
    if isinstance(error, (APIConnectionError, APITimeout)):
        return repeatable or not error.maybe_sent
    if isinstance(error, APIStatusError) and not isinstance(error, LimitsReached):
        return repeatable and error.status in _PASSING
    return False
