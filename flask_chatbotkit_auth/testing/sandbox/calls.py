"""The input and output of an operation of the sandbox: a call, a reply, a problem."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from .paging import Listing

Record = dict[str, Any]

CODES = {
    401: "NOT_AUTHENTICATED",
    402: "NO_SUBSCRIPTION",
    403: "NOT_AUTHORIZED",
    408: "TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    422: "UNPROCESSABLE_ENTITY",
    429: "LIMITS_REACHED",
    500: "GENERIC_ERROR",
}
"""The codes that differ from the names in :class:`http.HTTPStatus`. Some of those names depend on the version of Python."""

RATE_LIMIT = "You have exceeded your allocated rate limits: rate/poll"
"""The default message of a 429: the client should wait a minute."""

PLAN_LIMIT = "You have reached the limits of your plan"
"""The message of a 429 with the code LIMITS_REACHED: waiting does not help."""


def error_document(status: int, message: str | None = None, code: str | None = None) -> Record:
    """Return the API's ``{"message", "code"}`` for an HTTP status."""
    name = HTTPStatus(status).name if status in HTTPStatus.__members__.values() else "ERROR"
    if message is None and status == 429:
        message = PLAN_LIMIT if code == "LIMITS_REACHED" else RATE_LIMIT
    code = code or CODES.get(status, name)
    return {"message": message or code.replace("_", " ").capitalize(), "code": code}


class Problem(Exception):
    """The API refuses the request, with an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Call:
    """A request to an operation."""

    account: str | None
    """The id of the acting sub-account; None for the account that the secret belongs to."""
    contact_id: str | None
    """The contact that a session token is bound to."""
    body: Record
    listing: Listing


@dataclass(frozen=True)
class Reply:
    """A success, as one JSON document and, if the API offers it, as JSON lines."""

    document: Any
    events: list[Record] | None = None
    paced: bool = False
    """Whether the events are sent one by one, with a pause between them."""
    status: int = 200
