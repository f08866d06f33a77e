"""``Sandbox``: starts and stops the stand-in, holds its data, and makes its requests fail on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from .api import NoRoute, perform
from .calls import Problem, Record, error_document
from .extras import Extras, Function
from .faults import Fault, Faults
from .paging import LARGEST_PAGE, Listing
from .records import Records, new_id
from .server import Answer, Request, Server

HTML = "text/html; charset=utf-8"
NOT_FOUND_PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body><h1>Page not found</h1></body></html>"


class Sandbox:
    """The parts of the ChatBotKit API that sign-in and chat use, in memory.

    ::

        with Sandbox(secret="sk-test") as sandbox:
            sandbox.add_user("ada@example.com", name="Ada")
            app.config.update(CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_API_URL=sandbox.url)

    You can read, set and call everything while it serves, from any thread.

    :param secret: the secret key of the account. Requests must send it as a bearer token.
    :param host: the address to listen on.
    :param port: the port to listen on; 0 for any free one.
    :param latency: see :attr:`latency`.
    :param knows: the names of the sub-account resource, ``"user"``, ``"partner/user"`` or both. The other name answers 404
        with an HTML page.
    :param clock: returns the time in seconds since the epoch, for timestamps and the expiry of session tokens.
    :raises ValueError: ``knows`` contains something else.
    """

    requests: list[Request]
    """Every call in the order of arrival, as :class:`~flask_chatbotkit_auth.testing.sandbox.server.Request`: ``method, path,
    query, json, headers, status``. A call is added before it is answered. Clear the list to count from zero."""

    users: dict[str, Record]
    """The sub-accounts by id, as the API shows them. Change a record to prepare data that the API would not write."""

    contacts: dict[str, Record]
    """The contacts by id, including those of sub-accounts."""

    conversations: dict[str, Record]
    """The conversations by id."""

    bots: dict[str, Record]
    """The bots by id."""

    datasets: dict[str, Record]
    """The datasets by id."""

    aliases: dict[str, str]
    """The aliases of sub-accounts, by the id of the sub-account. No answer shows them."""

    latency: float
    """Seconds before each answer."""

    token_delay: float
    """Seconds between the events of a streamed chat answer. Default: 0.01."""

    page_size: int
    """The most records on one page of a list, whatever ``take`` asks for. Default: 100."""

    ignore_filters: bool
    """Whether lists ignore filters, as a server does that does not know them. Default: false."""

    byte_limits: bool
    """Whether texts longer than 191 bytes are refused, as the hosted service does. A self-hosted deployment on SQLite accepts
    them. Default: true."""

    knows_update: bool
    """Whether ``{"meta": {"$update": …}}`` merges. An old server drops the key, and so empties ``meta``. Default: true."""

    ensure_gap: float
    """Seconds between the look-up of ``contact/ensure`` and its insert.

    Other requests can run in between, even with 0, the default.
    """

    def __init__(
        self,
        secret: str = "sk-test",  # noqa: S107  # of a stand-in
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        knows: tuple[str, ...] = ("user", "partner/user"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not knows or not set(knows) <= {"user", "partner/user"}:
            raise ValueError('knows is "user", "partner/user" or both')
        self.secret = secret
        self.knows: tuple[str, ...] = tuple(knows)
        self._address = (host, port)
        self._latency = latency
        self._server: Server | None = None
        self._records = Records(clock)
        self._faults = Faults()
        self._extras = Extras()
        self.requests = []
        self.users = self._records.users
        self.contacts = self._records.contacts
        self.conversations = self._records.conversations
        self.bots = self._records.bots
        self.datasets = self._records.datasets
        self.aliases = self._records.aliases
        self.reset()

    # Serving

    @property
    def url(self) -> str:
        """The origin, such as ``"http://127.0.0.1:49152"``. It stays the same after a restart.

        :raises RuntimeError: the sandbox was never started, and its port is 0.
        """
        host, port = self._address
        if not port:
            raise RuntimeError("the sandbox has no port yet: start it first")
        return f"http://{host}:{port}"

    def start(self) -> Sandbox:
        """Start to listen, and return the sandbox.

        :raises RuntimeError: it is running already.
        :raises OSError: the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("the sandbox is running")
        self._server = Server(self._address, self._respond)
        # Kept, so that clients find it at the same port after a restart.
        self._address = (self._address[0], self._server.server_port)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop listening, and close every connection. Data, faults and :attr:`requests` stay. It can be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def wait(self) -> None:
        """Block until the sandbox is stopped, or until Ctrl-C. Ctrl-C does not stop the sandbox.

        :raises RuntimeError: it is not running.
        """
        server = self._server
        if server is None:
            raise RuntimeError("the sandbox is not running: start it first")
        with suppress(KeyboardInterrupt):
            # With a time-out: on Windows, a join without one cannot be interrupted.
            while not server.join(timeout=0.5):
                pass

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Preparing data

    def add_user(self, email: str | None, **fields: Any) -> Record:
        """Add a sub-account and return its record, the one in :attr:`users`.

        It has ``id``, ``email``, ``meta`` (``{}``), ``createdAt`` and ``updatedAt`` (in milliseconds). ``fields`` replace
        them without a check, so that a test can prepare values that the API holds but would not write, such as null.

        :raises ValueError: another sub-account has this address.
        """
        with self._records.lock:
            if email and any(user.get("email") == email for user in self.users.values()):
                raise ValueError("a user with this email exists")
            return self._add(self.users, {"email": email, "meta": {}}, fields)

    def add_contact(self, email: str | None, **fields: Any) -> Record:
        """Add a contact of the account and return its record, the one in :attr:`contacts`.

        It has the fields that :meth:`add_user` sets, and a random ``fingerprint``. It is not verified unless ``verifiedAt``
        (in milliseconds) is among the ``fields``. Several contacts can have the same address.
        """
        with self._records.lock:
            return self._add(self.contacts, {"email": email, "meta": {}, "fingerprint": new_id()}, fields)

    def _add(self, table: dict[str, Record], defaults: Record, fields: Record) -> Record:
        if not defaults["email"]:
            del defaults["email"]
        record = {**self._records.stamp(), **defaults, **fields}
        table[record["id"]] = record
        return record

    def reset(self) -> None:
        """Delete all data, requests, faults, answers and routes, and reset every setting to its default."""
        self._records.clear()
        self._faults.clear()
        self._extras.clear()
        self.requests.clear()
        self.latency = self._latency
        self.token_delay = 0.01
        self.page_size = LARGEST_PAGE
        self.ignore_filters = False
        self.byte_limits = True
        self.knows_update = True
        self.ensure_gap = 0.0

    # Adding operations

    def answer(self, path_glob: str, json: Any, *, status: int = 200) -> None:
        """Answer a fixed document at paths that the sandbox does not know. Without this, they answer 404.

        :param path_glob: as in :meth:`fail`, such as ``"*/bot/*/fetch"``.
        :param json: the document.
        """
        self._extras.add_answer(path_glob, json, status)

    def route(self, method: str, path: str, function: Function) -> None:
        """Add an operation with its own state, or replace one of the sandbox.

        ::

            made = {}

            def create(request):
                made["b1"] = {"id": "b1", **request.json}
                return {"id": "b1"}

            sandbox.route("POST", "/bot/create", create)
            sandbox.route("GET", "/bot/{id}/fetch", lambda request, id: made[id])

        :param path: the path after ``/api/v1``. ``{name}`` matches one segment.
        :param function: called with the :attr:`request <requests>`, whose ``account`` is the id of the acting sub-account,
            and with the segments. It returns the document, or ``(document, status)``. It is called for one request at a
            time.
        """
        self._extras.add_route(method, path, function)

    # Faults

    def fail(
        self,
        path_glob: str,
        status: int | None = None,
        times: int | None = None,
        delay: float = 0,
        body: str | bytes | None = None,
        drop: bool | int = False,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        message: str | None = None,
        in_stream: bool = False,
    ) -> None:
        """Make requests fail.

        The first fault that matches a request and is not used up applies to it; the delays of all that match add up. A
        request that a fault answers is not carried out.

        :param path_glob: matched with :mod:`fnmatch` against the whole path, without the query:
            ``"/api/v1/user/list"``, ``"*/user/list"``, ``"*"``.
        :param status: the status of the answer; from 400 on, with the API's error document.
        :param times: how many requests fail; None for all until :meth:`heal`.
        :param delay: seconds to wait first. Without another fault, the request is then carried out as usual.
        :param body: the body of the answer, with status 200 by default. Its type is ``text/html`` if it begins with ``<``,
            else ``application/json``; ``headers`` can set another.
        :param drop: True closes the connection without an answer, and the request is not carried out. With a number, the
            request is carried out, and the connection is closed after so many bytes of the response, including its head: 0
            sends nothing, and a negative number omits so many bytes at the end.
        :param code: the ``code`` of the error document, such as ``"LIMITS_REACHED"`` for a 429.
        :param headers: further headers of the answer, such as ``{"Retry-After": "1"}``.
        :param method: only requests of this method, such as ``"POST"``.
        :param message: the ``message`` of the error document. By default a 429 is about ``rate/poll``, or with
            ``code="LIMITS_REACHED"`` about the plan.
        :param in_stream: answer a request for JSON lines with 200 and an ``error`` event, as the API does if a completion
            fails after it has begun.
        :raises ValueError: no fault is named, or there is a ``code`` without a ``status``.
        """
        self._faults.add(
            Fault(path_glob, status, times, delay, body, drop, code, headers or {}, method, message, in_stream)
        )

    def heal(self) -> None:
        """End every fault."""
        self._faults.clear()

    # Answering

    def _respond(self, request: Request) -> Answer | None:
        self.requests.append(request)
        server = self._server
        delay, fault = self._faults.take(request.method, request.path)
        wait = self.latency + delay
        if server is None or (wait and server.closing.wait(wait)):
            return None
        if fault is not None and fault.drop is True:
            return None
        answer = _faulty(fault, request) if fault is not None and fault.answers else self._answer(request)
        if fault is not None:
            answer = replace(answer, cut=fault.cut)
        if answer.cut != 0:
            # The record of a call is frozen for its readers; only this field is set later.
            object.__setattr__(request, "status", answer.status)
        return answer

    def _answer(self, request: Request) -> Answer:
        listing = Listing(request.query, self.page_size, self.ignore_filters)
        jsonl = _wants_lines(request)
        self._records.byte_limits = self.byte_limits
        self._records.knows_update = self.knows_update
        self._records.ensure_gap = self.ensure_gap
        try:
            # Also encoded under the lock: the reply contains records that another request may change.
            with self._records.lock:
                reply = perform(self._records, request, self.secret, self.knows, listing, self._extras)
                if not jsonl or reply.events is None:
                    return Answer(reply.status, _encode(reply.document))
                lines = [_encode(event) + b"\n" for event in reply.events]
        except NoRoute:
            return Answer(404, NOT_FOUND_PAGE, HTML)
        except Problem as problem:
            return Answer(problem.status, _encode(error_document(problem.status, str(problem))))
        content = lines if reply.paced else b"".join(lines)
        return Answer(200, content, "application/jsonl", pause=self.token_delay)


def _faulty(fault: Fault, request: Request) -> Answer:
    status = fault.status or 200
    if fault.body is not None:
        content = fault.body.encode() if isinstance(fault.body, str) else fault.body
    else:
        document = error_document(status, fault.message, fault.code)
        if fault.in_stream and _wants_lines(request):
            event = {"type": "error", "data": document}
            return Answer(200, [_encode(event) + b"\n"], "application/jsonl", fault.headers)
        content = _encode(document) if status >= 400 else b""
    return Answer(status, content, HTML if content.lstrip().startswith(b"<") else "application/json", fault.headers)


def _wants_lines(request: Request) -> bool:
    return "application/jsonl" in request.headers.get("Accept", "")


def _encode(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
