"""The error answers of a chat."""

from __future__ import annotations

import logging

from flask import Response, jsonify, make_response
from werkzeug.exceptions import BadRequest, NotFound

from ..exceptions import APIError, APIStatusError, ChatBotKitAuthError, LimitsReached, TooManyRequests
from ..failures import report

_log = logging.getLogger("flask_chatbotkit_auth")

_BUSY = "The chat is busy. Wait a moment, then try again."
_USED_UP = "The chat has used up what its plan allows. Ask the people who run this site."
_AWAY = "The chat cannot be reached just now. Try again in a moment."
_REFUSED = "The chat is not set up right. Tell the people who run this site."
_UNKNOWN = "This conversation does not exist any more. Begin a new one."
BROKEN_OFF = "The answer broke off. Try again in a moment."


class InvalidMessages(ChatBotKitAuthError, BadRequest, ValueError):
    """The messages from the browser are not a conversation. The text says why.

    A view that does not catch it answers 400, with ``invalid_messages`` in the form of :func:`stream_completion`'s errors.
    """

    error_code = "invalid_messages"
    http_status = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.response: Response = problem(400, self.error_code, sentence)


class UnknownConversation(ChatBotKitAuthError, NotFound, LookupError):
    """The conversation does not exist, or belongs to somebody else. The answer does not say which.

    A view that does not catch it answers 404, with ``unknown_conversation`` in the form of :func:`stream_completion`'s
    errors.
    """

    error_code = "unknown_conversation"
    http_status = 404

    def __init__(self) -> None:
        super().__init__(_UNKNOWN)
        self.response: Response = problem(404, self.error_code, _UNKNOWN)


def refusal(error: APIError) -> Response:
    """Return the answer for a completion that failed before it began, and log why."""
    if isinstance(error, (LimitsReached, TooManyRequests)):
        _log.warning("no completion: %s", error)
    else:
        report(error)
    if isinstance(error, LimitsReached):
        return problem(429, "limits_reached", _USED_UP)
    if isinstance(error, TooManyRequests):
        response = problem(429, "rate_limited", _BUSY)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(-int(-error.retry_after // 1))
        return response
    if isinstance(error, APIStatusError) and (
        error.status in (400, 409, 422) or error.code in ("NOT_AUTHORIZED", "NOT_FOUND")
    ):
        # Such as an unknown option, a contact that was deleted, or a private bot. The log has the API's own text.
        return problem(503, "chat_refused", _REFUSED)
    return problem(503, error.error_code, _AWAY)


def problem(status: int, code: str, sentence: str) -> Response:
    """Return an error as JSON, for our own clients and for the hook of ``@chatbotkit/react``."""
    # In both forms: that of our errors, and that of the API's, which the hook reads.
    response = make_response(jsonify(error={"code": code, "message": sentence}, code=code, message=sentence), status)
    response.headers["Cache-Control"] = "no-store"
    return response
