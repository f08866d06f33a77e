"""A stand-in of the ChatBotKit API that serves real HTTP on a real port, with faults on demand."""

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
    """The ChatBotKit API as far as sign-in and chat touch it, in memory.

    ::

        with Sandbox(secret="sk-test") as sandbox:
            sandbox.add_user("ada@example.com", name="Ada")
            app.config.update(CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_API_URL=sandbox.url)

    Everything may be read, set and called while it serves, from any thread.

    :param secret: the account's secret key, which requests must carry as a bearer token.
    :param host: the address to listen at.
    :param port: the port to listen at, 0 for any free one.
    :param latency: see :attr:`latency`.
    :param knows: the names that the sub-account resource has on this deployment, ``"user"``, ``"partner/user"`` or
        both. The other one answers 404 with an HTML page.
    :param clock: seconds since the epoch, for the timestamps and the end of session tokens.
    :raises ValueError: ``knows`` holds something else.
    """

    requests: list[Request]
    """Every call in the order of arrival, as :class:`~flask_chatbotkit_auth.testing.sandbox.server.Request`: ``method, path,
    query, json, headers, status``. A call is here before it is answered; clear the list to count afresh."""

    users: dict[str, Record]
    """The sub-accounts by id, as the API shows them. Change a record to stage what the API would not write."""

    contacts: dict[str, Record]
    """The contacts by id, those of sub-accounts included."""

    conversations: dict[str, Record]
    """The conversations by id."""

    bots: dict[str, Record]
    """The bots by id."""

    datasets: dict[str, Record]
    """The datasets by id."""

    aliases: dict[str, str]
    """The aliases of sub-accounts by their ids; no answer shows them."""

    latency: float
    """Seconds before each answer."""

    token_delay: float
    """Seconds between the events of a streamed chat answer; 0.01 unless set."""

    page_size: int
    """The most records that one page of a list holds, whatever ``take`` asks for; 100 unless set."""

    ignore_filters: bool
    """Whether lists answer everything, page after page, as a server does that does not know the filter."""

    byte_limits: bool
    """Whether texts above 191 bytes are refused, as by the hosted service; a self-hosted SQLite takes them. True unless
    set."""

    knows_update: bool
    """Whether ``{"meta": {"$update": …}}`` merges. A server that is too old for it drops the key, and with it everything
    that ``meta`` held. True unless set."""

    ensure_gap: float
    """Seconds between the look-up of ``contact/ensure`` and its insert; 0 unless set, in which others still get in."""

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
        """The origin, such as ``"http://127.0.0.1:49152"``, which stays the same when stopped and started again.

        :raises RuntimeError: it was never started, and the port is any free one.
        """
        host, port = self._address
        if not port:
            raise RuntimeError("the sandbox has no port yet: start it first")
        return f"http://{host}:{port}"

    def start(self) -> Sandbox:
        """Listen, and return the sandbox itself.

        :raises RuntimeError: it is running.
        :raises OSError: the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("the sandbox is running")
        self._server = Server(self._address, self._respond)
        # Kept, so that a sandbox that is stopped and started again stays the same API to its clients.
        self._address = (self._address[0], self._server.server_port)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop listening and close every connection; data, faults and the log of requests stay. Twice does no harm."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def wait(self) -> None:
        """Block until somebody stops the sandbox or presses Ctrl-C, which stops nothing but the waiting.

        :raises RuntimeError: it is not running.
        """
        server = self._server
        if server is None:
            raise RuntimeError("the sandbox is not running: start it first")
        with suppress(KeyboardInterrupt):
            # By bits: on Windows a join without an end cannot be interrupted.
            while not server.join(timeout=0.5):
                pass

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Staging

    def add_user(self, email: str | None, **fields: Any) -> Record:
        """Add a sub-account and return its record, the one in :attr:`users`.

        It has ``id``, ``email``, ``meta`` (``{}``), ``createdAt`` and ``updatedAt`` (milliseconds), and ``fields`` are
        laid over them as they are: what the API holds but would not write, nulls for instance, can be staged.

        :raises ValueError: another sub-account has the e-mail.
        """
        with self._records.lock:
            if email and any(user.get("email") == email for user in self.users.values()):
                raise ValueError("a user with this email exists")
            return self._add(self.users, {"email": email, "meta": {}}, fields)

    def add_contact(self, email: str | None, **fields: Any) -> Record:
        """Add a contact of the account and return its record, the one in :attr:`contacts`.

        It has a random ``fingerprint`` besides what :meth:`add_user` gives, and is not verified unless ``verifiedAt``
        (milliseconds) is among the ``fields``. Several contacts may have one e-mail.
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
        """Forget all data, requests, faults, answers and routes, and put every setting back to what it was at first."""
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

    # More than it knows

    def answer(self, path_glob: str, json: Any, *, status: int = 200) -> None:
        """Answer the same document at paths that the sandbox does not know; without this they answer 404.

        :param path_glob: as in :meth:`fail`, such as ``"*/bot/*/fetch"``.
        :param json: what JSON can say.
        """
        self._extras.add_answer(path_glob, json, status)

    def route(self, method: str, path: str, function: Function) -> None:
        """Add an operation, with state of its own, or replace one that the sandbox has.

        ::

            made = {}

            def create(request):
                made["b1"] = {"id": "b1", **request.json}
                return {"id": "b1"}

            sandbox.route("POST", "/bot/create", create)
            sandbox.route("GET", "/bot/{id}/fetch", lambda request, id: made[id])

        :param path: after ``/api/v1``; ``{name}`` stands for one segment.
        :param function: called with the :attr:`request <requests>`, whose ``account`` is the acting sub-account's id, and
            the segments. It returns the document, or ``(document, status)``. One request at a time runs in it.
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
        """Let requests go wrong.

        A request meets the first fault asked for that matches it and is not used up, and delays add up with it. What a
        fault answers in the API's place is not carried out.

        :param path_glob: matched with :mod:`fnmatch` against the whole path, without the query:
            ``"/api/v1/user/list"``, ``"*/user/list"``, ``"*"``.
        :param status: answer this; from 400 on with the API's error document.
        :param times: for so many requests; None until :meth:`heal`.
        :param delay: seconds to wait first. Alone, the request is then carried out as usual.
        :param body: answer this as it is, with status 200 unless given. Its type is ``text/html`` where it begins with
            ``<``, else ``application/json``; ``headers`` may say otherwise.
        :param drop: True closes the connection without an answer, and nothing is carried out. A number of bytes lets
            the request be carried out, sends so many of the whole response, its head included, and closes: 0 stays
            silent, and a negative number leaves out that many at the end.
        :param code: the ``code`` of the error document, such as ``"LIMITS_REACHED"`` for a 429.
        :param headers: further headers of the answer, such as ``{"Retry-After": "1"}``.
        :param method: only requests of this method, such as ``"POST"``.
        :param message: the ``message`` of the error document. A 429 without one is about ``rate/poll``, or about the plan
            where ``code="LIMITS_REACHED"`` is given.
        :param in_stream: a request for JSON lines gets 200 first and the error as an ``error`` event among the lines,
            as from the API where a completion fails once it has begun.
        :raises ValueError: nothing is said to go wrong, or a ``code`` has no ``status``.
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
            # The record of a call is frozen to those who read it; this is the one write that comes late.
            object.__setattr__(request, "status", answer.status)
        return answer

    def _answer(self, request: Request) -> Answer:
        listing = Listing(request.query, self.page_size, self.ignore_filters)
        jsonl = _wants_lines(request)
        self._records.byte_limits = self.byte_limits
        self._records.knows_update = self.knows_update
        self._records.ensure_gap = self.ensure_gap
        try:
            # Encoded under the lock too: the reply holds records that another request may change.
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
